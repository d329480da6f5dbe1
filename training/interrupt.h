// Ctrl-C, SIGTERM or a terminal that goes away (SIGHUP) during training: the loop finishes its step
// and saves; a second one ends the process at once. Owned by the command for as long as it trains.
#pragma once

#include <memory>

namespace espalier {

/// While it lives, the first SIGINT, SIGTERM or SIGHUP only is noted; the next acts as if there
/// were no guard. One that is ignored when it is made, as by nohup, stays ignored. One guard at a
/// time.
class InterruptGuard {
 public:
  InterruptGuard();
  /// Puts the handlers back that were there.
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// Whether one of them has come.
  bool interrupted() const;
  /// What a process that was ended so exits with: 130 after SIGINT, 143 after SIGTERM, 129 after
  /// SIGHUP. Only if interrupted().
  int exit_status() const;

 private:
  struct Before;
  std::unique_ptr<Before> before_;
};

}  // namespace espalier
