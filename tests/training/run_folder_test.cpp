// One process saves into a folder at a time, and whatever kills it leaves one whole model.
#include "training/run_folder.h"

#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "tests/data/support.h"
#include "training/checkpoint.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using data::refusal;
using data::TemporaryFolder;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

/// A model whose three files all differ from those of another size.
void save_model_of(int size,
                   const std::function<void(const SavedModel&, const std::vector<std::string>&,
                                            const std::vector<SafeTensor>&)>& save) {
  const std::vector<float> values(static_cast<std::size_t>(size), static_cast<float>(size));
  const SavedModel model{.name = "m",
                         .program = "program of " + std::to_string(size),
                         .settings = {},
                         .vocabulary = {}};
  save(model, {"<unk>", "word" + std::to_string(size)}, {float_tensor("w", {size}, values)});
}

void save_into(const fs::path& folder, int size) {
  save_model_of(size, [&](const auto& model, const auto& tokens, const auto& weights) {
    save_model(folder, model, tokens, weights);
  });
}

/// The size of the model that the folder holds, whose files all have to be of that size.
int whole_model_in(const fs::path& folder) {
  const SavedModel model = load_model(folder);
  const int size = std::stoi(model.program.substr(model.program.rfind(' ')));
  EXPECT_EQ(read_whole_file(model.vocabulary, Links::refuse),
            "<unk>\nword" + std::to_string(size) + "\n");
  const ir::Param param{.name = "w", .shape = {size}, .initializer = {}};
  EXPECT_EQ(load_weights(folder, {&param, 1})[0],
            std::vector<float>(static_cast<std::size_t>(size), static_cast<float>(size)));
  return size;
}

enum class End { done, killed, not_traced };

/// Runs `action` in a process of its own that is killed where it enters its `calls`-th system call.
End run_killed_at(int calls, const std::function<void()>& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(77);
    ::raise(SIGSTOP);
    try {
      action();
    } catch (const std::exception&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) return End::not_traced;
  for (int stop = 0; stop < 2 * calls - 1; ++stop) {  // each call stops where it begins and ends
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (!WIFEXITED(status)) continue;
    EXPECT_EQ(WEXITSTATUS(status), 0);
    return End::done;
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return End::killed;
}

TEST(RunFolder, AKillAtAnyMomentLeavesOneWholeModel) {
  int kept = 0, replaced = 0;
  End end = End::killed;
  for (int calls = 1; end == End::killed; ++calls) {
    const TemporaryFolder folder;
    save_into(folder.path(), 3);
    end = run_killed_at(calls, [&] { save_into(folder.path(), 5); });
    if (end == End::not_traced) GTEST_SKIP() << "a process may not be traced here";
    SCOPED_TRACE(fmt::format("killed at system call {}", calls));
    const int size = whole_model_in(folder.path());
    EXPECT_TRUE(size == 3 || size == 5) << size;
    ++(size == 3 ? kept : replaced);
    save_into(folder.path(), 4);
    EXPECT_EQ(whole_model_in(folder.path()), 4);
    EXPECT_EQ(names_in(folder.path()),
              (std::set<std::string>{"model.json", "model.safetensors", "vocab.txt"}));
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(kept, 20);
  EXPECT_GT(replaced, 5);
}

TEST(RunFolder, AnotherProcessThatSavesIsNamed) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const RunFolder locked(folder / "run");
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  EXPECT_EQ(refusal([&] { save_into(folder / "run", 3); }),
            fmt::format("{}: found it in use by pid {} on host {}, expected a folder that no other "
                        "process saves into",
                        folder / "run", child, host));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  save_into(folder / "run", 3);  // the lock died with it
  EXPECT_EQ(whole_model_in(folder / "run"), 3);
}

TEST(RunFolder, RemovesDraftsOfTheKilledAndNothingElse) {
  const TemporaryFolder folder;
  for (const char* name : {".model.json.0123456789abcdef.tmp", ".a.b.ffffffffffffffff.tmp"})
    folder.write(name, "half");
  const std::set<std::string> others = {".model.json.tmp", ".x.0123456789abcdeg.tmp", "notes.tmp",
                                        ".0123456789abcdef.tmp"};
  for (const std::string& name : others) folder.write(name, "mine");
  {
    const RunFolder locked(folder / "");
    EXPECT_TRUE(fs::exists(folder / ".lock"));
  }
  EXPECT_EQ(names_in(folder.path()), others);
}

TEST(RunFolder, APublicationThatCannotBeLeavesNothingNew) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "run/model.json");
  EXPECT_EQ(refusal([&] { save_into(folder / "run", 3); }),
            folder / "run/model.json" + ": found a folder, expected a file");
  EXPECT_EQ(names_in(folder / "run"), std::set<std::string>{"model.json"});
}

TEST(RunFolder, AFolderThatStaysEmptyGoesAway) {
  const TemporaryFolder folder;
  {
    const RunFolder made(folder / "run/");
  }
  EXPECT_FALSE(fs::exists(folder / "run"));
  {
    const RunFolder there(folder / "");
  }
  EXPECT_TRUE(fs::exists(folder / ""));
}

TEST(RunFolder, LinksInItAreNotFollowed) {
  const TemporaryFolder folder;
  save_into(folder / "run", 3);
  for (const char* name : {"model.json", "model.safetensors", "vocab.txt"}) {
    const std::string victim = folder.write("victim", "mine");
    const fs::path file = folder / (std::string("run/") + name);
    fs::remove(file);
    fs::create_symlink(victim, file);
    EXPECT_EQ(refusal([&] { whole_model_in(folder / "run"); }),
              file.string() + ": found a link, expected a file");
    save_into(folder / "run", 3);
    EXPECT_FALSE(fs::is_symlink(file));
    EXPECT_EQ(read_whole_file(victim), "mine");
  }
  fs::create_symlink(folder.write("victim", "mine"), folder / "run/.lock");
  EXPECT_NE(refusal([&] { save_into(folder / "run", 3); }).find("run/.lock: cannot write the file"),
            std::string::npos);
  EXPECT_EQ(read_whole_file(folder / "victim"), "mine");
}

}  // namespace
}  // namespace espalier
