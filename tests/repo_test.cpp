// The shape of the repository, held by a test: who may include and link whom, that every source
// belongs to a target, that no file grows without end. kTable is the layer table of the project;
// to add a folder or a dependency, edit it and the folder's CMakeLists.txt, nothing else.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr int kMaxLines = 600;
constexpr std::size_t kMaxPublicHeaders = 30;

struct Row {
  std::string_view from;             // files matching this glob...
  std::vector<std::string_view> to;  // ...may include files matching one of these
};

// '*' stands for any characters but '/', '**' for any. A file may include the headers of its own
// folder, and what any row that matches the file allows; its CMakeLists.txt may link the same.
// Headers of the standard library and of the system (no folder in the name, and not CUDA's) are
// free.
const std::vector<Row> kTable = {
    {"**", {"fmt/**", "sys/**", "base/*"}},
    {"base/*", {}},
    {"ir/**", {"ir/*"}},
    {"ir/record/*", {"ir/text/*", "ir/passes/*"}},
    {"frontend/*", {"ir/**"}},
    {"scheduler/*", {"ir/**", "boost/**"}},
    {"codegen/**", {"ir/*", "ir/passes/*", "codegen/kernel/*"}},
    {"codegen/*", {"codegen/cpu/*", "codegen/cuda/*"}},
    {"codegen/cpu/*", {"llvm/**"}},
    {"codegen/cuda/nvrtc.cpp", {"nvrtc*", "cuda*"}},
    {"runtime/**", {"ir/**", "scheduler/*", "codegen/**", "runtime/step/*"}},
    {"runtime/*", {"runtime/cpu/*", "runtime/cuda/*"}},
    {"runtime/cuda/*", {"runtime/update/*", "cuda*", "cublas*"}},
    {"training/*", {"ir/**", "frontend/*", "runtime/**", "nlohmann/**"}},
    {"data/*", {}},
    {"models/*", {"ir/**", "frontend/*", "data/*"}},
    {"bench/**",
     {"ir/**", "frontend/*", "scheduler/*", "codegen/**", "runtime/**", "training/*", "data/*",
      "models/*", "bench/measure/*"}},
    {"bench/peers/dynet/*", {"dynet/**"}},  // a project of its own
    {"app/*",
     {"ir/**", "frontend/*", "scheduler/*", "codegen/**", "runtime/**", "training/*", "data/*",
      "models/*", "bench/measure/*", "CLI/**", "nlohmann/**"}},
    {"tests/support/fake_cuda/*", {"cuda*", "cublas*", "nvrtc*"}},
    {"tests/**",
     {"tests/**", "ir/**", "frontend/*", "scheduler/*", "codegen/**", "runtime/**", "training/*",
      "data/*", "models/*", "bench/**", "app/*", "gtest/**", "nlohmann/**", "boost/**"}},
};

// Headers that lie beside the standard ones and still need a row.
const std::vector<std::string_view> kCudaHeaders = {"cuda**",  "cublas*", "nvrtc*",    "cudnn*",
                                                    "curand*", "nvml*",   "nvJitLink*"};

struct File {
  std::string path;  // from the root, with '/'
  std::string text;
};
using Tree = std::vector<File>;

struct Include {
  int line;
  std::string target;
  bool quoted;
};

/// Whether `text` matches `glob`, as in kTable.
bool matches(std::string_view glob, std::string_view text) {
  if (glob.empty()) return text.empty();
  if (glob.starts_with("**"))
    return matches(glob.substr(2), text) || (!text.empty() && matches(glob, text.substr(1)));
  if (glob.front() == '*')
    return matches(glob.substr(1), text) ||
           (!text.empty() && text.front() != '/' && matches(glob, text.substr(1)));
  return !text.empty() && glob.front() == text.front() && matches(glob.substr(1), text.substr(1));
}

bool matches_any(const std::vector<std::string_view>& globs, std::string_view text) {
  return std::any_of(globs.begin(), globs.end(), [&](auto glob) { return matches(glob, text); });
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

std::vector<Include> includes_of(std::string_view text) {
  std::vector<Include> found;
  int number = 0;
  auto skip_blanks = [](std::string_view& s) {
    s.remove_prefix(std::min(s.find_first_not_of(" \t"), s.size()));
  };
  for (std::string_view line : lines_of(text)) {
    ++number;
    skip_blanks(line);
    if (!line.starts_with('#')) continue;
    line.remove_prefix(1);
    skip_blanks(line);
    if (!line.starts_with("include")) continue;
    line.remove_prefix(std::string_view("include").size());
    skip_blanks(line);
    if (!line.starts_with('"') && !line.starts_with('<')) continue;
    const bool quoted = line.front() == '"';
    const size_t end = line.find(quoted ? '"' : '>', 1);
    if (end != line.npos) found.push_back({number, std::string(line.substr(1, end - 1)), quoted});
  }
  return found;
}

/// The words of a CMakeLists.txt, without its comments.
std::set<std::string, std::less<>> cmake_words(std::string_view text) {
  std::set<std::string, std::less<>> words;
  for (std::string_view line : lines_of(text)) {
    line = line.substr(0, line.find('#'));
    while (!line.empty()) {
      const size_t end = line.find_first_of(" \t\r()\"$<>{};");
      if (end != 0) words.emplace(line.substr(0, end));
      line.remove_prefix(end == line.npos ? line.size() : end + 1);
    }
  }
  return words;
}

bool is_source(std::string_view path) {
  return matches_any({"**.cpp", "**.h", "**.cu", "**.cuh"}, path);
}

bool may_include(std::string_view path, std::string_view target) {
  const bool has_folder = target.find('/') != target.npos;
  if (!has_folder && !matches_any(kCudaHeaders, target)) return true;
  const auto folder = [](std::string_view name) { return name.substr(0, name.rfind('/')); };
  if (has_folder && folder(path) == folder(target)) return true;
  return std::any_of(kTable.begin(), kTable.end(), [&](const Row& row) {
    return matches(row.from, path) && matches_any(row.to, target);
  });
}

/// Edges that the table lacks, and includes that are not written from the root.
std::vector<std::string> bad_includes(const Tree& tree) {
  std::vector<std::string> bad;
  for (const File& file : tree) {
    if (!is_source(file.path)) continue;
    for (const Include& include : includes_of(file.text)) {
      const bool from_root = !include.quoted || include.target.find('/') != std::string::npos;
      if (!from_root)
        bad.push_back(fmt::format("{}:{}: \"{}\" is not written from the root", file.path,
                                  include.line, include.target));
      else if (!may_include(file.path, include.target))
        bad.push_back(
            fmt::format("{}:{}: may not include {}", file.path, include.line, include.target));
    }
  }
  return bad;
}

/// Folders' targets that link a folder which their sources may not include.
std::vector<std::string> bad_links(const Tree& tree) {
  std::vector<std::string> bad;
  for (const File& file : tree) {
    if (!matches("**/CMakeLists.txt", file.path)) continue;
    for (const std::string& word : cmake_words(file.text)) {
      constexpr std::string_view prefix = "espalier::";
      if (!word.starts_with(prefix)) continue;
      std::string folder = word.substr(prefix.size());  // codegen_cpu is codegen/cpu
      std::ranges::replace(folder, '_', '/');
      if (!may_include(file.path, folder + "/any.h"))
        bad.push_back(fmt::format("{}: may not link {}", file.path, word));
    }
  }
  return bad;
}

/// Sources that no CMakeLists.txt in their folder or above it lists, so that nothing compiles them
/// (or, for headers of a library, nothing installs them).
std::vector<std::string> unlisted_sources(const Tree& tree) {
  std::set<std::string> listed;
  for (const File& file : tree) {
    const fs::path path = file.path;
    if (path.filename() != "CMakeLists.txt") continue;
    for (const std::string& word : cmake_words(file.text))
      listed.insert((path.parent_path() / word).lexically_normal().generic_string());
  }
  std::vector<std::string> bad;
  for (const File& file : tree) {
    const bool installed =
        matches("**.h", file.path) && !matches_any({"app/*", "bench/**", "tests/**"}, file.path);
    if ((matches("**.cpp", file.path) || installed) && !listed.contains(file.path))
      bad.push_back(fmt::format("{}: no CMakeLists.txt lists it", file.path));
  }
  return bad;
}

std::vector<std::string> long_files(const Tree& tree) {
  std::vector<std::string> bad;
  for (const File& file : tree) {
    const size_t lines = is_source(file.path) ? lines_of(file.text).size() : 0;
    if (lines > kMaxLines)
      bad.push_back(fmt::format("{}: {} lines, more than {}", file.path, lines, kMaxLines));
  }
  return bad;
}

/// Sources in folders that the table does not know.
std::vector<std::string> homeless_files(const Tree& tree) {
  std::vector<std::string> bad;
  for (const File& file : tree) {
    const bool known = std::any_of(kTable.begin() + 1, kTable.end(),
                                   [&](const Row& row) { return matches(row.from, file.path); });
    if (is_source(file.path) && !known)
      bad.push_back(fmt::format("{}: the layer table has no such folder", file.path));
  }
  return bad;
}

/// The headers that are installed, as cmake/EspalierInstall.cmake lists them.
std::vector<std::string> public_headers(std::string_view install_script) {
  const std::string_view before = "set(ESPALIER_PUBLIC_HEADERS";
  const std::size_t begin = install_script.find(before);
  if (begin == install_script.npos) return {};
  install_script.remove_prefix(begin + before.size());
  const auto words = cmake_words(install_script.substr(0, install_script.find(')')));
  return {words.begin(), words.end()};
}

/// Includes of public headers that are not public themselves, and public headers that are not
/// there.
std::vector<std::string> bad_public_headers(const Tree& tree,
                                            const std::vector<std::string>& headers) {
  std::vector<std::string> bad;
  for (const std::string& header : headers) {
    const auto file = std::ranges::find(tree, header, &File::path);
    if (file == tree.end()) {
      bad.push_back(fmt::format("{}: is installed and does not exist", header));
      continue;
    }
    for (const Include& include : includes_of(file->text))
      if (include.quoted && std::ranges::find(headers, include.target) == headers.end())
        bad.push_back(fmt::format("{}:{}: {} is not public", header, include.line, include.target));
  }
  return bad;
}

/// The checkout's sources and CMakeLists.txt files. Build trees, hidden folders and tests/package
/// (a project of its own, as a user would write it) are left out.
Tree read_tree(const fs::path& root) {
  Tree tree;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::end(it); ++it) {
    const std::string path = it->path().lexically_relative(root).generic_string();
    const std::string name = it->path().filename().string();
    if (it->is_directory() &&
        (name.starts_with('.') || (it.depth() == 0 && name.starts_with("build")) ||
         path == "tests/package")) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file() && (is_source(path) || name == "CMakeLists.txt")) {
      std::ifstream in(it->path(), std::ios::binary);
      tree.push_back({path, {std::istreambuf_iterator<char>(in), {}}});
    }
  }
  std::sort(tree.begin(), tree.end(), [](auto& a, auto& b) { return a.path < b.path; });
  return tree;
}

using Strings = std::vector<std::string>;

class Repository : public testing::Test {
 protected:
  static void SetUpTestSuite() { tree_ = read_tree(ESPALIER_SOURCE_DIR); }
  static inline Tree tree_;
};

TEST_F(Repository, IncludesFollowTheLayers) { EXPECT_EQ(bad_includes(tree_), Strings{}); }
TEST_F(Repository, LinksFollowTheLayers) { EXPECT_EQ(bad_links(tree_), Strings{}); }
TEST_F(Repository, EverySourceIsListed) { EXPECT_EQ(unlisted_sources(tree_), Strings{}); }
TEST_F(Repository, FilesAreShort) { EXPECT_EQ(long_files(tree_), Strings{}); }
TEST_F(Repository, EverySourceHasALayer) { EXPECT_EQ(homeless_files(tree_), Strings{}); }
TEST_F(Repository, PublicHeadersAreFewAndShowNoInsides) {
  std::ifstream in(ESPALIER_SOURCE_DIR "/cmake/EspalierInstall.cmake");
  const auto headers = public_headers(std::string{std::istreambuf_iterator<char>(in), {}});
  EXPECT_GT(headers.size(), 0u);
  EXPECT_LE(headers.size(), kMaxPublicHeaders);
  EXPECT_EQ(bad_public_headers(tree_, headers), Strings{});
}
TEST_F(Repository, TheScanSeesThisFile) {
  EXPECT_TRUE(std::any_of(tree_.begin(), tree_.end(),
                          [](const File& file) { return file.path == "tests/repo_test.cpp"; }));
}

// Each rule, on trees made up to break it.

Strings check_include(std::string path, std::string include) {
  return bad_includes({{std::move(path), "// a comment\n#include " + include + "\n"}});
}

TEST(RepoScan, FindsIncludesHoweverSpaced) {
  const auto found = includes_of(
      "#include \"ir/a.h\"\nint x;\n  # \tinclude<vector>\r\n"
      "// #include \"ir/b.h\"\n#define include\n#include MACRO\n#include \"");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].target, "ir/a.h");
  EXPECT_TRUE(found[0].quoted);
  EXPECT_EQ(found[1].target, "vector");
  EXPECT_EQ(found[1].line, 3);
  EXPECT_FALSE(found[1].quoted);
}

TEST(RepoScan, GlobsMatch) {
  EXPECT_TRUE(matches("codegen/cpu_*.cpp", "codegen/cpu_emit.cpp"));
  EXPECT_FALSE(matches("codegen/cpu_*.cpp", "codegen/cpu_emit.h"));
  EXPECT_FALSE(matches("codegen/*", "codegen/cpu/emit.h"));
  EXPECT_TRUE(matches("codegen/**", "codegen/cpu/emit.h"));
  EXPECT_TRUE(matches("**.h", "codegen/cpu/emit.h"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_FALSE(matches("a", "ab"));
}

TEST(RepoScan, AllowsTheEdgesOfTheTable) {
  EXPECT_EQ(check_include("ir/a.cpp", "<vector>"), Strings{});
  EXPECT_EQ(check_include("ir/a.cpp", "<fmt/core.h>"), Strings{});
  EXPECT_EQ(check_include("ir/a.cpp", "\"ir/b.h\""), Strings{});
  EXPECT_EQ(check_include("ir/record/a.cpp", "\"ir/passes/b.h\""), Strings{});
  EXPECT_EQ(check_include("frontend/a.h", "\"ir/record/recorder.h\""), Strings{});
  EXPECT_EQ(check_include("scheduler/a.h", "<boost/graph/adjacency_list.hpp>"), Strings{});
  EXPECT_EQ(check_include("codegen/a.h", "\"codegen/cuda/emit.h\""), Strings{});
  EXPECT_EQ(check_include("runtime/a.h", "\"scheduler/schedule.h\""), Strings{});
  EXPECT_EQ(check_include("runtime/engine.cpp", "\"runtime/cuda/executor.h\""), Strings{});
  EXPECT_EQ(check_include("data/a.h", "\"base/error.h\""), Strings{});
  EXPECT_EQ(check_include("tests/models/a_test.cpp", "\"training/loop.h\""), Strings{});
  EXPECT_EQ(check_include("tests/data/a_test.cpp", "<gtest/gtest.h>"), Strings{});
}

TEST(RepoScan, RejectsOtherEdges) {
  EXPECT_EQ(check_include("ir/a.cpp", "\"frontend/model.h\""),
            Strings{"ir/a.cpp:2: may not include frontend/model.h"});
  // The three siblings.
  for (std::string from : {"frontend", "scheduler", "codegen"})
    for (std::string to : {"frontend", "scheduler", "codegen"})
      EXPECT_EQ(check_include(from + "/a.h", "\"" + to + "/b.h\"").empty(), from == to);
  // A folder does not see its sub-folders unless a row says so, nor these each other.
  EXPECT_EQ(check_include("ir/a.h", "\"ir/passes/b.h\"").size(), 1u);
  EXPECT_EQ(check_include("ir/passes/a.h", "\"ir/record/b.h\"").size(), 1u);
  EXPECT_EQ(check_include("codegen/kernel/a.h", "\"codegen/cpu/b.h\"").size(), 1u);
  EXPECT_EQ(check_include("codegen/cpu/a.h", "\"codegen/cuda/b.h\"").size(), 1u);
  EXPECT_EQ(check_include("codegen/cpu/a.h", "\"codegen/compiler.h\"").size(), 1u);
  EXPECT_EQ(check_include("runtime/step/a.h", "\"runtime/engine.h\"").size(), 1u);
  EXPECT_EQ(check_include("runtime/cpu/a.h", "\"runtime/cuda/b.h\"").size(), 1u);
  EXPECT_EQ(check_include("base/a.h", "\"ir/graph.h\"").size(), 1u);
  EXPECT_EQ(check_include("data/a.h", "\"ir/graph.h\"").size(), 1u);
  EXPECT_EQ(check_include("models/a.h", "\"runtime/engine.h\"").size(), 1u);
  EXPECT_EQ(check_include("training/a.h", "\"models/lstm.h\"").size(), 1u);
  EXPECT_EQ(check_include("runtime/a.h", "\"tests/support/oracle.h\"").size(), 1u);
  EXPECT_EQ(check_include("ir/a.h", "<boost/graph/adjacency_list.hpp>").size(), 1u);
  EXPECT_EQ(check_include("models/a.cpp", "<gtest/gtest.h>").size(), 1u);
}

TEST(RepoScan, RejectsIncludesNotFromTheRoot) {
  EXPECT_EQ(check_include("ir/a.cpp", "\"graph.h\""),
            Strings{"ir/a.cpp:2: \"graph.h\" is not written from the root"});
  EXPECT_EQ(check_include("ir/a.cpp", "\"../ir/graph.h\"").size(), 1u);
}

TEST(RepoScan, KeepsLlvmInItsFolder) {
  EXPECT_EQ(check_include("codegen/cpu/emit.cpp", "<llvm/IR/IRBuilder.h>"), Strings{});
  for (std::string path :
       {"codegen/compiler.h", "codegen/kernel/lower.cpp", "runtime/cpu/executor.cpp",
        "tests/codegen/emit_test.cpp", "app/main.cpp"})
    EXPECT_EQ(check_include(path, "\"llvm/IR/IRBuilder.h\"").size(), 1u) << path;
}

TEST(RepoScan, KeepsCudaInItsFiles) {
  EXPECT_EQ(check_include("codegen/cuda/nvrtc.cpp", "<nvrtc.h>"), Strings{});
  EXPECT_EQ(check_include("runtime/cuda/driver.cpp", "<cuda.h>"), Strings{});
  EXPECT_EQ(check_include("runtime/cuda/cublas.cpp", "<cublas_v2.h>"), Strings{});
  for (std::string header : {"<cuda.h>", "<cuda_runtime.h>", "<nvrtc.h>", "<cublas_v2.h>",
                             "<cuda/std/array>", "<thrust/sort.h>"})
    for (std::string path : {"codegen/cuda/emit.cpp", "runtime/engine.cpp", "tests/a_test.cpp"})
      EXPECT_EQ(check_include(path, header).size(), 1u) << path << header;
}

TEST(RepoScan, RejectsLinksOutsideTheLayers) {
  EXPECT_EQ(bad_links({{"data/CMakeLists.txt", "espalier_library(data LINKS espalier::base)"},
                       {"app/CMakeLists.txt", "espalier_executable(x LINKS espalier::models)"}}),
            Strings{});
  EXPECT_EQ(bad_links({{"codegen/CMakeLists.txt", "f(codegen\n LINKS espalier::scheduler) # x"}}),
            Strings{"codegen/CMakeLists.txt: may not link espalier::scheduler"});
  EXPECT_EQ(bad_links({{"codegen/cpu/CMakeLists.txt", "f(LINKS espalier::codegen_cuda)"}}),
            Strings{"codegen/cpu/CMakeLists.txt: may not link espalier::codegen_cuda"});
}

TEST(RepoScan, FindsSourcesThatNothingCompiles) {
  const Tree tree = {{"CMakeLists.txt", "add_subdirectory(ir)"},
                     {"ir/CMakeLists.txt", "f(ir SOURCES a.cpp # b.cpp\n HEADERS a.h\n)"},
                     {"ir/a.cpp", ""},
                     {"ir/a.h", ""},
                     {"ir/b.cpp", ""},
                     {"ir/b.h", ""},
                     {"tests/CMakeLists.txt", "f(ir\n  SOURCES ir/a_test.cpp)"},
                     {"tests/ir/a_test.cpp", ""},
                     {"tests/ir/b_test.cpp", ""},
                     {"tests/support/c.h", ""}};
  EXPECT_EQ(unlisted_sources(tree),
            (Strings{"ir/b.cpp: no CMakeLists.txt lists it", "ir/b.h: no CMakeLists.txt lists it",
                     "tests/ir/b_test.cpp: no CMakeLists.txt lists it"}));
}

TEST(RepoScan, FindsPublicHeadersThatShowInsides) {
  const Tree tree = {{"ir/a.h", "#include <vector>\n#include \"ir/b.h\"\n#include \"ir/c.h\"\n"},
                     {"ir/b.h", ""},
                     {"ir/c.h", ""}};
  const auto headers = public_headers(
      "x\nset(ESPALIER_PUBLIC_HEADERS\n    ir/a.h # first\n    ir/b.h\n    ir/d.h)\nset(y z)\n");
  EXPECT_EQ(headers, (Strings{"ir/a.h", "ir/b.h", "ir/d.h"}));
  EXPECT_EQ(bad_public_headers(tree, headers),
            (Strings{"ir/a.h:3: ir/c.h is not public", "ir/d.h: is installed and does not exist"}));
}

TEST(RepoScan, FindsLongFiles) {
  auto lines = [](int n) {
    std::string text;
    while (n-- > 0) text += "x\n";
    return text;
  };
  EXPECT_EQ(long_files({{"ir/a.cpp", lines(kMaxLines)}, {"ir/CMakeLists.txt", lines(1000)}}),
            Strings{});
  EXPECT_EQ(long_files({{"ir/a.cpp", lines(kMaxLines + 1)}}),
            Strings{"ir/a.cpp: 601 lines, more than 600"});
}

TEST(RepoScan, FindsFoldersWithoutALayer) {
  EXPECT_EQ(homeless_files({{"ir/a.cpp", ""}, {"util/a.cpp", ""}, {"main.cpp", ""}}),
            (Strings{"util/a.cpp: the layer table has no such folder",
                     "main.cpp: the layer table has no such folder"}));
}

TEST(RepoScan, ReadsATreeFromDisk) {
  const fs::path root =
      fs::path(testing::TempDir()) / fmt::format("espalier_repo_scan_{}", std::random_device{}());
  for (std::string path : {"ir/a.h", "ir/CMakeLists.txt", "ir/notes.txt", "build/x.cpp",
                           ".git/x.cpp", "tests/package/main.cpp", "tests/repo_test.cpp"}) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << path;
  }
  const Tree tree = read_tree(root);
  fs::remove_all(root);
  Strings paths;
  for (const File& file : tree) paths.push_back(file.path + "=" + file.text);
  EXPECT_EQ(paths, (Strings{"ir/CMakeLists.txt=ir/CMakeLists.txt", "ir/a.h=ir/a.h",
                            "tests/repo_test.cpp=tests/repo_test.cpp"}));
}

}  // namespace
