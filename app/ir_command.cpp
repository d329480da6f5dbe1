#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/commands.h"
#include "app/flags.h"
#include "app/ranges.h"
#include "base/error.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/form.h"
#include "codegen/kernel/lower.h"
#include "codegen/kernel/print.h"
#include "codegen/kernel/target.h"
#include "ir/build.h"
#include "ir/passes/expand.h"
#include "ir/passes/hoist.h"
#include "ir/passes/pipeline.h"
#include "ir/text/print.h"
#include "ir/verify.h"
#include "models/models.h"

namespace espalier::app {
namespace {

/// Those of this machine, and GPUs, for which nothing but the toolkit is needed.
std::vector<std::string> ir_targets() {
  std::vector<std::string> names;
  for (const codegen::Target& target : codegen::host_targets()) names.push_back(target.name);
  names.insert(names.end(), {"sm_80", "sm_90"});
  return names;
}

std::vector<std::string> all_passes() {
  std::vector<std::string> names{"trace", "hoist"};
  for (const ir::Purpose purpose : {ir::Purpose::training, ir::Purpose::inference})
    for (const ir::PassInfo& pass : ir::passes(purpose))
      if (std::ranges::find(names, pass.name) == names.end()) names.emplace_back(pass.name);
  return names;
}

struct IrFlags {
  ModelFlags model;
  int vocabulary = 1000, classes = 5;
  std::string purpose = "training", pass, cell, target;
  std::string contractions = "cublas";
  ir::RecordOptions record{.hoist = EngineOptions().hoist};
  bool kernels = false;

  void add(CLI::App& parser);
};

void IrFlags::add(CLI::App& parser) {
  // A positional.
  add_choice(parser, "MODEL", model.name, "the model", names_of(models::models()), model.name);
  model.add_sizes(parser);
  parser.add_option("--vocab", vocabulary, fmt::format("rows of the embedding [{}]", vocabulary))
      ->check(whole(vocabulary_range))
      ->option_text("N");
  parser.add_option("--classes", classes, fmt::format("labels [{}]", classes))
      ->check(whole(classes_range))
      ->option_text("N");
  add_choice(parser, "--granularity", record.granularity, "cells as written, or one op each",
             granularities);
  add_choice(parser, "--pass", pass, "only the program after this pass", all_passes(), "all");
  add_choice(parser, "--for", purpose, "what the cells are made ready for",
             {"training", "inference"}, purpose);
  add_choice(parser, "--hoist", record.hoist,
             "the pass that splits what depends on no state off a cell", switches);
  parser.add_option("--cell", cell, "only this cell")->check(some_name())->option_text("NAME");
  parser.add_flag("--kernels", kernels, "the kernels of each cell too");
  add_choice(parser, "--target", target, "what to compile for", ir_targets(), "the first");
  add_choice(parser, "--contractions", contractions,
             "what a GPU multiplies by: tiles, or cuBLAS wherever it can", {"tiles", "cublas"},
             contractions);
}

/// Prints the stages of the pipeline, in its order.
class Dump {
 public:
  Dump(const IrFlags& flags, ir::Program program) : flags_(flags), program_(std::move(program)) {
    if (flags.cell.empty()) return;
    std::vector<std::string_view> names;
    const ir::Program cells = hoisted(program_);
    for (const ir::Cell& cell : cells.cells) names.push_back(cell.name);
    user_check(std::ranges::find(names, flags.cell) != names.end(),
               "cell: found '{}', expected one of {}; nearest: '{}'", flags.cell,
               fmt::join(names, ", "), nearest_name(flags.cell, names));
  }

  void run() {
    show("trace", program_);
    program_ = hoisted(std::move(program_));
    if (flags_.record.hoist) show("hoist", program_);
    const bool training = flags_.purpose == "training";
    std::map<std::string_view, ir::Program> cells;  // the result of each pass
    std::map<std::string_view, std::vector<ir::Differentiated>> halves;
    for (std::size_t i = 0; i < program_.cells.size(); ++i) {
      const ir::PassObserver collect{
          [&](const ir::PassInfo& pass, const ir::Cell& cell) {
            cells.try_emplace(pass.name, program_).first->second.cells[i] = cell;
          },
          [&](const ir::PassInfo& pass, const ir::Differentiated& both) {
            halves[pass.name].push_back(both);
          }};
      if (training)
        ir::training_cells(program_, program_.cells[i], collect);
      else
        ir::inference_cell(program_.cells[i], collect);
    }
    const std::vector<ir::PassInfo> passes =
        ir::passes(training ? ir::Purpose::training : ir::Purpose::inference);
    for (const ir::PassInfo& pass : passes)
      pass.scope == ir::PassScope::cell ? show(pass.name, cells.at(pass.name))
                                        : show(pass.name, halves.at(pass.name));
    if (flags_.kernels) {
      if (training)
        for (const ir::Differentiated& both : halves.at(passes.back().name)) show_kernels(both);
      else
        for (const ir::Cell& cell : cells.at(passes.back().name).cells)
          if (chosen(cell) && !ir::is_input(cell))
            print_kernel("inference", cell, codegen::lower_forward(program_, cell, target()));
    }
    std::cout << std::flush;
  }

 private:
  ir::Program hoisted(ir::Program program) const {
    const bool splits = flags_.record.hoist && flags_.record.granularity == ir::Granularity::cell;
    return splits ? ir::Hoisting(program).program() : program;
  }

  bool chosen(const ir::Cell& cell) const {
    return flags_.cell.empty() || cell.name == flags_.cell;
  }

  /// Whether the pass is to be shown.
  bool heading(std::string_view pass) const {
    if (!flags_.pass.empty() && flags_.pass != pass) return false;
    std::cout << fmt::format("# after {}\n", pass);
    return true;
  }

  void show(std::string_view pass, const ir::Program& program) const {
    ir::verify(program);
    if (!heading(pass)) return;
    if (flags_.cell.empty()) std::cout << ir::print(program) << '\n';
    for (const ir::Cell& cell : program.cells)
      if (cell.name == flags_.cell) std::cout << ir::print(cell, program) << '\n';
  }

  void show(std::string_view pass, const std::vector<ir::Differentiated>& cells) const {
    const bool wanted = heading(pass);
    for (const ir::Differentiated& both : cells) {
      if (!chosen(both.forward)) continue;
      ir::verify(both, program_);
      if (wanted) std::cout << ir::print(both, program_) << '\n';
    }
  }

  bool on_gpu() const { return flags_.target.starts_with("sm_"); }
  codegen::Target target() const {
    return on_gpu() ? codegen::cuda_target(flags_.target) : codegen::host_target(flags_.target);
  }

  /// In the form that the target gets.
  void print_kernel(std::string_view what, const ir::Cell& cell, codegen::Kernel kernel) {
    if (on_gpu())
      kernel = codegen::cuda_form(std::move(kernel), [this](const codegen::ContractionShape&) {
        return flags_.contractions == "cublas";
      });
    std::cout << fmt::format("# {} kernel of cell {} for {}\n{}\n", what, cell.name, target().name,
                             codegen::print_kernel(kernel));
    if (!on_gpu()) return;
    if (!std::exchange(prelude_shown_, true))
      std::cout << "# before the stages of CUDA kernels\n" << codegen::cuda_prelude() << '\n';
    std::cout << fmt::format("# {} kernel of cell {} in CUDA C++\n{}\n", what, cell.name,
                             codegen::print_cuda_stages(kernel, "").source);
  }

  void show_kernels(const ir::Differentiated& both) {
    const ir::Cell& cell = both.forward;
    if (!chosen(cell)) return;
    print_kernel("forward", cell, codegen::lower_forward(program_, cell, target()));
    print_kernel("backward", cell, codegen::lower_backward(cell, both.backward, target()));
    const std::vector<bool> stores(both.backward.contributions.size(), false);
    print_kernel("weight gradient", cell,
                 codegen::lower_weight_gradient(cell, both.backward, stores));
  }

  const IrFlags& flags_;
  ir::Program program_;
  bool prelude_shown_ = false;
};

ir::Program traced(const IrFlags& flags) {
  RunConfig sizes;
  flags.model.resolve(sizes);
  const auto model = models::find_model(flags.model.name)
                         .make({.vocabulary = flags.vocabulary,
                                .embed = sizes.embed,
                                .hidden = sizes.hidden,
                                .classes = flags.classes,
                                .dropout = sizes.dropout,
                                .labels_at = sizes.labels_at});
  if (flags.record.granularity == ir::Granularity::cell) return model->program();
  return ir::Expansion(model->program()).program();
}

}  // namespace

Command add_ir_command(CLI::App& parent) {
  CLI::App* parser = parent.add_subcommand("ir", "Prints a model's program after each pass");
  const auto flags = std::make_shared<IrFlags>();
  flags->add(*parser);
  return {parser, [flags] {
            Dump(*flags, traced(*flags)).run();
            return kDone;
          }};
}

}  // namespace espalier::app
