// `espalier schedule` and `espalier ir`: what they print can be read back, or drawn.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "codegen/compiler.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/print.h"
#include "ir/passes/pipeline.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "models/models.h"
#include "runtime/step/cell_kernels.h"
#include "tests/app/command.h"

namespace espalier::app {
namespace {

using nlohmann::json;

Arguments schedule(const Arguments& more) {
  Arguments arguments = {"schedule",     "--data", "listops", "--examples", "100",
                         "--max-tokens", "20",     "--batch", "10"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(ScheduleCommand, JsonHoldsEveryInstanceOnce) {
  for (const char* strategy : {"unbatched", "depth", "agenda", "phase"})
    for (const char* granularity : {"cell", "op"}) {
      const Output output =
          run(schedule({"--strategy", strategy, "--granularity", granularity, "--format", "json"}));
      ASSERT_EQ(output.status, 0) << output.err;
      const json report = json::parse(output.out);
      EXPECT_EQ(report["strategy"], strategy);
      EXPECT_EQ(report["examples"], 10);
      std::size_t instances = 0;
      for (const json& batch : report["batches"]) instances += batch["size"].get<std::size_t>();
      EXPECT_EQ(instances, report["instances"]);
      EXPECT_GE(report["batches"].size(), report["lower_bound"]);
    }
}

TEST(ScheduleCommand, SharesAndHoists) {
  const auto report = [](const Arguments& more) {
    Arguments arguments = {"--model", "lstm", "--format", "json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return json::parse(run(schedule(arguments)).out);
  };
  const auto hoisted = [](const json& report) {
    std::vector<std::size_t> sizes;
    for (const json& batch : report["batches"])
      if (batch["cell"] == "step.hoisted") sizes.push_back(batch["size"]);
    return sizes;
  };
  const json plain = report({"--share", "off", "--hoist", "off"}),
             share = report({"--hoist", "off"}), hoist = report({"--share", "off"}),
             both = report({});
  const auto instances = [](const json& report) { return report["instances"].get<int>(); };
  EXPECT_LT(instances(share), instances(plain));
  EXPECT_EQ(hoisted(plain).size(), 0u);
  ASSERT_EQ(hoisted(hoist).size(), 1u) << "one batch for all words";
  EXPECT_EQ(instances(hoist), instances(plain) + int(hoisted(hoist)[0]));
  ASSERT_EQ(hoisted(both).size(), 1u);
  // ListOps has few words.
  EXPECT_LE(hoisted(both)[0], 20u);
  EXPECT_EQ(instances(both), instances(share) + int(hoisted(both)[0]));
  EXPECT_EQ(run(schedule({"--share", "maybe"})).status, 2);
}

TEST(ScheduleCommand, TextAndDot) {
  const Output text = run(schedule({}));
  EXPECT_EQ(text.status, 0);
  EXPECT_NE(text.out.find("tree_lstm, strategy phase: 10 examples"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("lower bound"), std::string::npos);
  const Output dot = run(schedule({"--format", "dot", "--model", "child_sum_tree_lstm"}));
  EXPECT_EQ(dot.out.rfind("digraph ", 0), 0u) << dot.out;
  EXPECT_EQ(dot.out.substr(dot.out.size() - 2), "}\n");
}

TEST(IrCommand, ProgramsParseBack) {
  for (const char* model : {"tree_lstm", "child_sum_tree_lstm", "lstm"})
    for (const char* granularity : {"cell", "op"})
      for (const char* pass : {"trace", "fuse_contractions", "simplify"}) {
        const Output output = run({"ir", model, "--hidden", "8", "--embed", "6", "--pass", pass,
                                   "--granularity", granularity});
        ASSERT_EQ(output.status, 0) << output.err;
        const ir::Program program = ir::parse(output.out);
        EXPECT_EQ(program.name, model);
        EXPECT_EQ(std::string("# after ") + pass + "\n" + ir::print(program) + "\n", output.out);
      }
}

TEST(IrCommand, ShowsEveryPassAndTheKernels) {
  const Output output =
      run({"ir", "tree_lstm", "--hidden", "8", "--embed", "6", "--dropout", "0.5", "--kernels"});
  ASSERT_EQ(output.status, 0) << output.err;
  std::size_t at = 0;
  for (std::string_view part :
       {"# after trace", "cell leaf", "# after fuse_contractions", "# after simplify",
        "# after differentiate", "forward leaf", "backward leaf", "# after without_stop_gradients",
        "# after split_contractions", "backward leaf", "# forward kernel of cell leaf",
        "# backward kernel of cell leaf", "# weight gradient kernel of cell leaf"}) {
    at = output.out.find(part, at);
    ASSERT_NE(at, std::string::npos) << part;
  }
}

/// The engine makes its kernels with the passes that the command prints, and in the same order.
TEST(IrCommand, ShowsWhatTheEngineRuns) {
  const auto model = models::find_model("tree_lstm")
                         .make({.vocabulary = 50, .embed = 6, .hidden = 8, .classes = 5});
  const ir::Program program = model->program();
  codegen::Compiler compiler(codegen::host_target());
  runtime::CellKernels kernels(program, compiler, true);
  for (const ir::Purpose purpose : {ir::Purpose::training, ir::Purpose::inference}) {
    const bool training = purpose == ir::Purpose::training;
    const Output output =
        run({"ir", "tree_lstm", "--hidden", "8", "--embed", "6", "--vocab", "50", "--dropout", "0",
             "--hoist", "off", "--kernels", "--target", compiler.target().name, "--for",
             training ? "training" : "inference"});
    ASSERT_EQ(output.status, 0) << output.err;
    std::vector<std::string> passes;
    std::istringstream lines(output.out);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("# after ")) passes.push_back(line.substr(8));
    std::vector<std::string> expected{"trace"};
    for (const ir::PassInfo& pass : ir::passes(purpose)) expected.emplace_back(pass.name);
    EXPECT_EQ(passes, expected);
    for (ir::CellId cell = 0; cell < ir::CellId(program.cells.size()); ++cell) {
      std::vector<const codegen::CompiledKernel*> run;
      if (training)
        run = {kernels.training(cell).forward, kernels.training(cell).backward};
      else
        run = {&kernels.inference(cell)};
      for (const codegen::CompiledKernel* kernel : run)
        EXPECT_NE(output.out.find("\n" + codegen::print_kernel(kernel->kernel)), std::string::npos)
            << kernel->kernel.name;
    }
  }
}

TEST(IrCommand, ShowsKernelsInCuda) {
  const Output output = run({"ir", "tree_lstm", "--kernels", "--target", "sm_90"});
  ASSERT_EQ(output.status, 0) << output.err;
  for (std::string_view part :
       {"struct EspalierLaunch", "# forward kernel of cell node in CUDA C++",
        "__global__ void __launch_bounds__(256, 2)\nespalier_stage_0("})
    EXPECT_NE(output.out.find(part), std::string::npos) << part;
  // As a GPU gets them: contractions by the library, or weight gradients summed over parts of the
  // rows.
  EXPECT_NE(output.out.find("library"), std::string::npos);
  const Output tiles =
      run({"ir", "tree_lstm", "--kernels", "--target", "sm_90", "--contractions", "tiles"});
  EXPECT_EQ(tiles.out.find("library"), std::string::npos);
  EXPECT_NE(tiles.out.find(" = partial("), std::string::npos);
}

TEST(IrCommand, ShowsWhatIsHoisted) {
  const auto print = [](const char* hoist, const char* cell) {
    return run({"ir", "lstm", "--hidden", "8", "--embed", "6", "--hoist", hoist, "--cell", cell,
                "--pass", "fuse_contractions"});
  };
  // One product of both, or one for each.
  EXPECT_NE(print("off", "step").out.find("[32, 14]"), std::string::npos);
  EXPECT_NE(print("on", "step").out.find("port hoisted.0 : f32[32]"), std::string::npos);
  EXPECT_NE(print("on", "step.hoisted").out.find("row("), std::string::npos);
  EXPECT_EQ(print("off", "step.hoisted").status, 1);
  const Output pass = run({"ir", "lstm", "--hidden", "8", "--hoist", "on", "--pass", "hoist"});
  const ir::Program program = ir::parse(pass.out);
  EXPECT_EQ("# after hoist\n" + ir::print(program) + "\n", pass.out);
  EXPECT_EQ(program.cells.size(), 5u);
}

TEST(IrCommand, CanShowOneCell) {
  const Output output =
      run({"ir", "tree_lstm", "--hidden", "8", "--cell", "node", "--pass", "differentiate"});
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_NE(output.out.find("backward node"), std::string::npos);
  EXPECT_EQ(output.out.find("leaf"), std::string::npos);
}

}  // namespace
}  // namespace espalier::app
