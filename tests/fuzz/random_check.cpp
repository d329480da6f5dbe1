// Puts random programs on trial, as many as wanted: random_check --kind KIND --seeds A:B. Prints
// each kind of fault with the seeds that show it and a small program, and counts what was run.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/target.h"
#include "ir/text/print.h"
#include "tests/support/engine_trial.h"
#include "tests/support/host_cuda.h"
#include "tests/support/kernel_trial.h"
#include "tests/support/random_frontend.h"
#include "tests/support/random_programs.h"
#include "tests/support/shrink.h"

namespace espalier::test {
namespace {

struct Options {
  std::string kind = "kernel";
  std::uint64_t first = 0, last = 1000;  ///< without the last
  unsigned jobs = 1;
  std::uint64_t compiled = 8;  ///< every so manieth program is compiled as well; 0: none
  int shrunk = 1;              ///< of each kind of fault and job, made small and printed in full
  bool print = false;          ///< the programs themselves
};

/// What a worker says to its parent: in memory that they share, so that a crash loses nothing.
struct Progress {
  std::uint64_t seed = 0;  ///< under way
  std::uint64_t programs = 0, interpreted = 0, compiled = 0, minibatches = 0, faults = 0;
  double worst = 0;
};

void say(const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += std::size_t(n);
  }
}

/// A folder in memory, gone with its object.
struct Scratch {
  std::filesystem::path path = fmt::format("/dev/shm/espalier-random-check-{}", getpid());
  ~Scratch() { std::filesystem::remove_all(path); }
};

/// Seeds of one program or text.
constexpr std::uint64_t seeds_per_text = 64;
static_assert(seeds_per_text % engine_seeds_per_program == 0);

class KernelTrials {
 public:
  explicit KernelTrials(std::uint64_t compiled_share) : share_(compiled_share) {
    targets_ = codegen::host_targets();
    host_ = targets_.size();
    targets_.push_back(codegen::cuda_target("sm_80"));
  }

  static constexpr bool shrinks = true;
  static ir::Program program(std::uint64_t seed) { return random_cell(seed); }

  Fault operator()(const ir::Program& program, std::uint64_t seed, Progress& progress) {
    KernelTrial trial(program, seed);
    if (Fault fault = trial.check_passes()) return fault;
    const codegen::Target& target = targets_[seed % targets_.size()];
    if (Fault fault = trial.check_kernels(interpreted(target))) return fault;
    progress.interpreted += 3;
    if (share_ > 0 && seed % share_ == 0) {
      if (Fault fault = trial.check_kernels(compiled(compiler(seed / share_ % host_))))
        return fault;
      progress.compiled += 3;
    }
    progress.worst = std::max(progress.worst, trial.worst());
    return {};
  }

 private:
  /// Code is kept as long as its compiler, so that is a new one now and then.
  std::shared_ptr<codegen::Compiler> compiler(std::size_t target) {
    if (compilers_.empty() || ++uses_ > 300) {
      compilers_.clear();
      for (std::size_t i = 0; i < host_; ++i)
        compilers_.push_back(std::make_shared<codegen::Compiler>(targets_[i]));
      uses_ = 0;
    }
    return compilers_[target];
  }

  std::uint64_t share_;
  std::size_t host_ = 0, uses_ = 0;
  std::vector<codegen::Target> targets_;
  std::vector<std::shared_ptr<codegen::Compiler>> compilers_;
};

class EngineTrials {
 public:
  static constexpr bool shrinks = true;
  EngineTrials() { mallopt(M_PERTURB, 0x80); }  // fresh memory holds large numbers

  static ir::Program program(std::uint64_t seed) {
    return random_model(seed / engine_seeds_per_program);
  }

  Fault operator()(const ir::Program& program, std::uint64_t seed, Progress& progress) {
    const std::uint64_t group = seed / engine_seeds_per_program;
    std::string text = ir::print(program);
    if (!model_ || group != model_->group || text != model_->text) {
      model_.reset();  // its folder has the same name
      model_ = std::make_shared<Model>(program, std::move(text), group);
    }
    const std::uint64_t before = model_->trial.minibatches();
    const Fault fault = model_->trial.check(seed);
    progress.minibatches += model_->trial.minibatches() - before;
    return fault;
  }

 private:
  struct Model {
    Model(const ir::Program& of, std::string printed, std::uint64_t number)
        : program(of), text(std::move(printed)), group(number), trial(program, group, cache.path) {}

    ir::Program program;
    std::string text;
    std::uint64_t group;
    Scratch cache;
    EngineTrial trial;
  };
  std::shared_ptr<Model> model_;
};

class FrontendTrials {
 public:
  static constexpr bool shrinks = false;  // the program is not what is at fault
  static ir::Program program(std::uint64_t seed) { return random_model(seed); }
  Fault operator()(const ir::Program&, std::uint64_t seed, Progress&) { return try_frontend(seed); }
};

/// Kernels printed as CUDA C++ and compiled for this machine, many seeds in one text.
class CudaTrials {
 public:
  static constexpr bool shrinks = false;  // each try would be compiled
  static ir::Program program(std::uint64_t seed) { return random_cell(seed); }

  Fault operator()(const ir::Program& program, std::uint64_t seed, Progress& progress) {
    if (!host_ || seed / seeds_per_text != text_) compile(seed / seeds_per_text);
    KernelTrial trial(program, seed);
    if (Fault fault = trial.check_passes()) return fault;
    const KernelPath printed{"printed as CUDA", target_,
                             [&](const codegen::Kernel& kernel, int stage, void* const* buffers,
                                 std::int64_t begin, std::int64_t end) {
                               grid_ = grid_ % 7 + 1;
                               host_->run(host_->add(kernel), stage, buffers, begin, end, grid_);
                             }};
    if (Fault fault = trial.check_kernels(printed)) return fault;
    progress.compiled += 3;
    progress.worst = std::max(progress.worst, trial.worst());
    return {};
  }

 private:
  void compile(std::uint64_t text) {
    if (!cache_) cache_ = std::make_shared<Scratch>();
    setenv("XDG_CACHE_HOME", cache_->path.c_str(), 1);
    text_ = text;
    host_ = std::make_shared<HostKernels>();
    for (std::uint64_t i = 0; i < seeds_per_text; ++i) {
      const ir::Program of = program(text * seeds_per_text + i);
      KernelTrial trial(of, text * seeds_per_text + i);
      if (trial.check_passes()) continue;  // said when its turn comes
      for (const codegen::Kernel& kernel : trial.kernels(target_)) host_->add(kernel);
    }
    host_->compile();
  }

  codegen::Target target_ = codegen::cuda_target("sm_80");
  std::shared_ptr<Scratch> cache_;
  std::shared_ptr<HostKernels> host_;
  std::uint64_t text_ = 0;
  unsigned grid_ = 0;
};

/// The seeds from `first` on, of every `jobs`-th group.
template <class Trials>
void work(Trials trials, const Options& options, unsigned job, std::uint64_t first,
          Progress& progress) {
  std::map<std::string, int> kinds;
  for (std::uint64_t seed = first; seed < options.last; ++seed) {
    if (seed / seeds_per_text % options.jobs != job) continue;
    progress.seed = seed;
    const ir::Program program = Trials::program(seed);
    if (options.print) say(ir::print(program) + "\n");
    const Fault fault = trials(program, seed, progress);
    ++progress.programs;
    if (!fault) continue;
    ++progress.faults;
    if (++kinds[fault.kind] > options.shrunk) {
      say(fmt::format("seed {}: {}\n", seed, fault.kind));
      continue;
    }
    if (!Trials::shrinks) {
      say(fmt::format("seed {}: {}\n{}\n{}\n", seed, fault.kind, ir::print(program), fault.what));
      continue;
    }
    Progress unused;
    const ir::Program small = shrink(program, [&](const ir::Program& smaller) {
      return trials(smaller, seed, unused).kind == fault.kind;
    });
    say(fmt::format("seed {}: {}\n{}\n{}\n", seed, fault.kind, ir::print(small),
                    trials(small, seed, unused).what));
  }
}

template <class Trials>
int run(const Trials& trials, const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  void* const shared = mmap(nullptr, options.jobs * sizeof(Progress), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* const progress = new (shared) Progress[options.jobs];
  std::map<pid_t, unsigned> workers;
  const auto begin = [&](unsigned job, std::uint64_t first) {
    const pid_t child = fork();
    if (child == 0) {
      work(trials, options, job, first, progress[job]);
      _exit(0);
    }
    workers[child] = job;
  };
  for (unsigned job = 0; job < options.jobs; ++job) begin(job, options.first);
  std::uint64_t crashes = 0;
  while (!workers.empty()) {
    int status = 0;
    const pid_t ended = wait(&status);
    const unsigned job = workers[ended];
    workers.erase(ended);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    ++crashes;
    say(fmt::format("seed {}: crash, {} {}\n", progress[job].seed,
                    WIFSIGNALED(status) ? "signal" : "status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)));
    begin(job, progress[job].seed + 1);
  }
  Progress all;
  for (unsigned job = 0; job < options.jobs; ++job) {
    all.programs += progress[job].programs;
    all.interpreted += progress[job].interpreted;
    all.compiled += progress[job].compiled;
    all.minibatches += progress[job].minibatches;
    all.faults += progress[job].faults;
    all.worst = std::max(all.worst, progress[job].worst);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  say(fmt::format(
      "{} seeds {}:{}: {} programs, {} kernels interpreted, {} compiled, {} minibatches, "
      "{} faults, {} crashes; largest error {:.3f} of what is allowed; {:.1f} s\n",
      options.kind, options.first, options.last, all.programs, all.interpreted, all.compiled,
      all.minibatches, all.faults, crashes, all.worst, seconds));
  return all.faults + crashes > 0 ? 1 : 0;
}

int usage() {
  say("random_check [--kind kernel|cuda|engine|frontend] [--seeds A:B] [--jobs N] [--compiled N] "
      "[--shrunk N] [--print]\n"
      "  --compiled N   every N-th program is compiled as well; 0: none\n"
      "  --shrunk N     so many of each kind of fault are made small and printed in full\n");
  return 2;
}

int main_(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& flag = arguments[i];
    if (flag == "--print") {
      options.print = true;
      continue;
    }
    if (i + 1 == arguments.size()) return usage();
    const std::string& value = arguments[++i];
    if (flag == "--kind") {
      options.kind = value;
    } else if (flag == "--seeds") {
      const std::size_t colon = value.find(':');
      options.first = std::stoull(value);
      options.last =
          colon == std::string::npos ? options.first + 1 : std::stoull(value.substr(colon + 1));
    } else if (flag == "--jobs") {
      options.jobs = unsigned(std::max(1, std::stoi(value)));
    } else if (flag == "--shrunk") {
      options.shrunk = std::stoi(value);
    } else if (flag == "--compiled") {
      options.compiled = std::stoull(value);
    } else {
      return usage();
    }
  }
  if (options.kind == "kernel") return run(KernelTrials(options.compiled), options);
  if (options.kind == "engine") return run(EngineTrials(), options);
  if (options.kind == "cuda") return run(CudaTrials(), options);
  if (options.kind == "frontend") return run(FrontendTrials(), options);
  return usage();
}

}  // namespace
}  // namespace espalier::test

int main(int count, char** arguments) {
  return espalier::test::main_({arguments + 1, arguments + count});
}
