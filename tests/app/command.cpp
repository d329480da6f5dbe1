#include "tests/app/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace espalier::app {
namespace {

/// Appends what is there to `text`. False at the end; a terminal that nobody holds any more gives
/// an error instead.
bool append(int descriptor, std::string& text) {
  char buffer[4096];
  const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
  if (count > 0) text.append(buffer, static_cast<std::size_t>(count));
  return count > 0;
}

[[noreturn]] void become(const Arguments& arguments, const CommandOptions& options) {
  std::vector<char*> argv{const_cast<char*>(ESPALIER_COMMAND)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  // On a machine with a GPU as without: what is tested is the command.
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
  for (const int number : options.ignored) ::signal(number, SIG_IGN);
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(126);
  for (const auto& [descriptor, file] : options.streams) {
    ::close(descriptor);
    if (!file.empty()) ::dup2(::open(file.c_str(), O_RDWR), descriptor);
  }
  ::execv(ESPALIER_COMMAND, argv.data());
  ::_exit(127);
}

}  // namespace

Process::Process(const Arguments& arguments, const CommandOptions& options) {
  if (options.terminal) {
    const winsize size{.ws_row = 24, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    pid_ = ::forkpty(&out_, nullptr, nullptr, &size);
    if (pid_ == 0) become(arguments, options);
    return;
  }
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) return;
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    become(arguments, options);
  }
  ::close(out[1]);
  ::close(err[1]);
  out_ = out[0];
  err_ = err[0];
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
}

bool Process::read_some() {
  pollfd polled[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
  if (out_ < 0 && err_ < 0) return false;
  ::poll(polled, 2, -1);  // descriptors below 0 are left out
  const auto take = [](const pollfd& ready, int& descriptor, std::string& text) {
    if (ready.revents == 0 || append(descriptor, text)) return;
    ::close(descriptor);
    descriptor = -1;
  };
  take(polled[0], out_, output_.out);
  take(polled[1], err_, output_.err);
  return true;
}

bool Process::wait_for_error_text(std::string_view text) {
  while (output_.err.find(text) == std::string::npos)
    if (!read_some()) return false;
  return true;
}

bool Process::wait_for_text(std::string_view text) {
  while (output_.out.find(text) == std::string::npos)
    if (!read_some()) return false;
  return true;
}

void Process::hang_up() {
  ::close(out_);
  out_ = -1;
}

void Process::signal(int number) { ::kill(pid_, number); }

Output Process::wait() {
  while (read_some()) {
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  output_.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return output_;
}

Output run(const Arguments& arguments, const CommandOptions& options) {
  return Process(arguments, options).wait();
}

Arguments tiny_training(const Arguments& more) {
  const auto given = [&](std::string_view flag) {
    return std::ranges::find(more, flag) != more.end();
  };
  Arguments result = {"train"};
  const auto add = [&](const std::string& flag, const std::string& value) {
    if (!given(flag)) result.insert(result.end(), {flag, value});
  };
  if (!given("--data")) {
    add("--data", "listops");
    add("--examples", "100");
    add("--max-tokens", "20");
  }
  add("--hidden", "8");
  add("--embed", "6");
  add("--batch", "16");
  add("--epochs", "2");
  add("--threads", "1");
  result.insert(result.end(), more.begin(), more.end());
  return result;
}

nlohmann::json train_json(const Arguments& more) {
  Arguments arguments = tiny_training(more);
  arguments.insert(arguments.end(), {"--json", "-"});
  const Output output = run(arguments);
  EXPECT_EQ(output.status, 0) << output.err;
  return nlohmann::json::parse(output.out, nullptr, false);
}

}  // namespace espalier::app
