// The `espalier` command. Results go to stdout, all else to stderr; exit 0 done, 1 failed, 2 usage,
// 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "app/build_info.h"
#include "app/commands.h"
#include "app/usual_names.h"
#include "base/error.h"

namespace espalier::app {
namespace {

std::string nearest(const std::string& found, const std::vector<std::string>& names) {
  const std::vector<std::string_view> views(names.begin(), names.end());
  return nearest_name(found, views);
}

/// The verb that was parsed, or the verb within a verb; else the root.
const CLI::App& parsed_verb(const CLI::App& root) {
  const auto parsed = root.get_subcommands();
  return parsed.empty() ? root : parsed_verb(*parsed.front());
}

/// The complaint about a verb or a flag that nobody knows; empty if there is none.
std::string unexpected(const CLI::App& root) {
  const std::vector<std::string> arguments = root.remaining(true);
  if (arguments.empty()) return "";
  const CLI::App& parser = parsed_verb(root);
  const auto verbs = parser.get_subcommands([](const CLI::App*) { return true; });
  const bool has_verb = verbs.empty();
  // Values of unknown flags stay behind too: with a verb it is the flag that matters.
  std::string found = arguments.front();
  for (const std::string& argument : arguments)
    if (argument.starts_with("-") == has_verb) {
      found = argument.substr(0, argument.find('='));
      break;
    }
  std::vector<std::string> names;
  if (found.starts_with("-")) {
    for (const CLI::Option* option : parser.get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    return unknown_flag(found, names);
  }
  if (has_verb) return fmt::format("unexpected '{}'", found);
  for (const CLI::App* verb : verbs) names.push_back(verb->get_name());
  return fmt::format("unknown verb '{}': expected one of {}; nearest: '{}'", found,
                     fmt::join(names, ", "), nearest(found, names));
}

int usage_error(const CLI::App& root, std::string_view message) {
  std::string verb;
  for (const CLI::App* parser = &parsed_verb(root); parser != &root; parser = parser->get_parent())
    verb = " " + parser->get_name() + verb;
  std::cerr << "espalier: error: " << message << "\nTry 'espalier" << verb << " --help'.\n";
  return kUsage;
}

constexpr std::string_view bug = " (this is a bug in espalier: please report it)";

/// Takes no memory of its own: there may be none.
int fail(std::string_view message, std::string_view more = "") {
  std::cerr << "espalier: error: " << message << more << '\n';
  return kFailed;
}

/// Whoever starts us with a standard stream closed would find it in the first file that we open.
/// Writing to these fails, as to the closed one.
void fill_standard_streams() {
  while (true) {
    const int next = ::open("/dev/null", O_RDONLY);
    if (next >= 0 && next <= STDERR_FILENO) continue;
    if (next >= 0) ::close(next);
    return;
  }
}

/// The status; kFailed in place of kDone if stdout does not take what was written.
int finish(int status) {
  const bool written = !std::cout.flush().fail() && std::fflush(stdout) == 0;
  if (written) return status;
  const int failed = fail("stdout: cannot be written");
  return status == kDone ? failed : status;
}

int parse_and_run(int argc, char** argv) {
  CLI::App root("Trains tree-structured neural networks, batched and compiled.", "espalier");
  root.set_version_flag("--version", fmt::format("espalier {}", build_info().version));
  root.set_help_flag("--help", "Print this help and exit");
  root.require_subcommand(1)->get_formatter()->column_width(34);
  const Command commands[] = {add_train_command(root),    add_eval_command(root),
                              add_schedule_command(root), add_ir_command(root),
                              add_bench_command(root),    add_info_command(root)};
  root.footer(
      "'espalier VERB --help' lists the flags of a verb.");  // here, or the verbs have it too
  try {
    root.parse(argc, argv);
    for (const Command& command : commands)
      if (command.parser->parsed()) return finish(command.run());
  } catch (const CLI::Success& asked) {  // --help, --version
    const std::string unknown = root.get_subcommands().empty() ? unexpected(root) : "";
    return unknown.empty() ? finish(root.exit(asked)) : usage_error(root, unknown);
  } catch (const CLI::ParseError& error) {
    const std::string unknown = unexpected(root);
    return usage_error(root, unknown.empty() ? error.what() : unknown);
  } catch (const UsageError& error) {
    return usage_error(root, error.what());
  }
  return usage_error(root, "no verb");
}

/// Memory may run out in a destructor that allocates, as those of JSON values do, and none of them
/// may throw: the process ends all the same, but says why.
[[noreturn]] void end_by_exception() {
  if (const std::exception_ptr thrown = std::current_exception()) {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
      std::fflush(nullptr);
      ::_exit(fail("out of memory"));
    } catch (const std::exception& error) {
      fail(error.what(), bug);
    } catch (...) {
    }
  }
  std::abort();
}

/// Whether the system has no more memory, or threads, to give.
bool is_exhausted(const std::system_error& error) {
  return error.code() == std::errc::not_enough_memory ||
         error.code() == std::errc::resource_unavailable_try_again;
}

int run(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const UserError& error) {
    return fail(error.what());
  } catch (const std::bad_alloc&) {
    return fail("out of memory");
  } catch (const std::system_error& error) {
    return is_exhausted(error) ? fail("out of memory or threads: ", error.what())
                               : fail(error.what(), bug);
  } catch (const std::exception& error) {
    return fail(error.what(), bug);
  }
}

}  // namespace
}  // namespace espalier::app

int main(int argc, char** argv) {
  std::set_terminate(espalier::app::end_by_exception);
  espalier::app::fill_standard_streams();
  return espalier::app::run(argc, argv);
}
