#include "training/interrupt.h"

#include <array>
#include <atomic>
#include <csignal>

#include "base/error.h"

namespace espalier {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

// A signal handler can reach nothing but a variable of the process.
std::atomic<int> signal_that_came = 0;
std::array<std::atomic<bool>, kSignals.size()> is_guarded;  // by kSignals: not if it is ignored
std::atomic<bool> guard_lives = false;
static_assert(std::atomic<int>::is_always_lock_free);

void note_signal(int number) {
  signal_that_came = number;
  // The next one acts as if there were no guard, whichever of them it is.
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    if (is_guarded[i]) std::signal(kSignals[i], SIG_DFL);
}

}  // namespace

struct InterruptGuard::Before {
  std::array<struct sigaction, kSignals.size()> actions;
};

InterruptGuard::InterruptGuard() {
  internal_check(!guard_lives.exchange(true), "two InterruptGuards at a time");
  signal_that_came = 0;
  before_ = std::make_unique<Before>();
  struct sigaction action{};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int which : kSignals) sigaddset(&action.sa_mask, which);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before_->actions[i]);
    is_guarded[i] = before_->actions[i].sa_handler != SIG_IGN;
  }
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    if (is_guarded[i]) ::sigaction(kSignals[i], &action, nullptr);
}

InterruptGuard::~InterruptGuard() {
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    if (is_guarded[i]) ::sigaction(kSignals[i], &before_->actions[i], nullptr);
  guard_lives = false;
}

bool InterruptGuard::interrupted() const { return signal_that_came != 0; }

int InterruptGuard::exit_status() const { return 128 + signal_that_came; }

}  // namespace espalier
