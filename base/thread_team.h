// A fixed team of threads for parallel regions: every thread runs the same function and waits for
// the others at barriers. Waiting threads spin briefly, then sleep; between regions they sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace espalier {

class ThreadTeam {
 public:
  /// `threads` ≥ 1, the calling thread included. UserError if the system refuses them.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Runs work(thread) on every thread and returns when all are done. Then an exception of `work`
  /// is rethrown, that of the lowest thread if there are several. Work with barriers must not
  /// throw: the other threads would wait forever.
  template <class Work>
  void run(const Work& work) {
    run({&work,
         [](const void* context, int thread) { (*static_cast<const Work*>(context))(thread); }});
  }

  /// Called by every thread inside `run`: returns once all have called it.
  void barrier();

 private:
  /// A reference to a callable, since std::function might allocate.
  struct Region {
    const void* context = nullptr;
    void (*call)(const void* context, int thread) = nullptr;
  };
  void run(const Region& region);
  void call(int thread) noexcept;
  void serve(int thread);
  void stop();

  std::vector<std::thread> workers_;
  Region work_;
  std::vector<std::exception_ptr> thrown_;  // by thread
  std::atomic<std::uint32_t> started_{0}, arrived_{0}, phase_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace espalier
