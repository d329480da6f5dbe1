// Saved models come back as they were; files that do not belong together, or were not written by
// save_model, are refused; a failed save leaves the model that was there.
#include "training/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "tests/data/support.h"
#include "tests/training/full_disk.h"

namespace espalier {
namespace {

using data::refusal;
using data::TemporaryFolder;

const std::vector<std::string> kTokens = {"<unk>", "a\u00a0b", "\"quoted\""};
const std::vector<float> kOne = {1}, kMatrix = {1, 2, 3, 4, 5, 6}, kVector = {7, 8};
const std::vector<ir::Param> kParams = {{.name = "u", .shape = {2, 3}, .initializer = {}},
                                        {.name = "b", .shape = {2}, .initializer = {}}};

SavedModel a_model() {
  return {.name = "tree_lstm",
          .program = "program tree_lstm\n  param \"u\" [2, 3]\n\nend\n",
          .settings = {{"hidden", std::int64_t{150}},
                       {"dropout", 0.5},
                       {"rate", 1.0},
                       {"seed", std::int64_t{-1}},
                       {"freeze", true},
                       {"data", std::string("sst:\\\"ä")}},
          .vocabulary = {}};
}

std::vector<SafeTensor> some_weights() {
  return {float_tensor("u", {2, 3}, kMatrix), float_tensor("b", {2}, kVector)};
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(Checkpoint, ComesBackAsItWas) {
  const TemporaryFolder folder;
  const std::filesystem::path run = folder / "runs/first";
  save_model(run, a_model(), kTokens, some_weights(), {{"epoch", "3"}});

  const SavedModel loaded = load_model(run);
  EXPECT_EQ(loaded.name, "tree_lstm");
  EXPECT_EQ(loaded.program, a_model().program);
  EXPECT_EQ(loaded.settings, a_model().settings);
  EXPECT_EQ(read_whole_file(loaded.vocabulary), "<unk>\na\u00a0b\n\"quoted\"\n");
  EXPECT_EQ(load_weights(run, kParams), (std::vector<std::vector<float>>{kMatrix, kVector}));
  EXPECT_EQ(Safetensors(run / "model.safetensors").metadata().at("epoch"), "3");
  EXPECT_EQ(Safetensors(run / "model.safetensors").metadata().at("format"), "pt");
}

TEST(Checkpoint, NeedsNoVocabulary) {
  const TemporaryFolder folder;
  SavedModel model = a_model();
  model.program = "no line end";
  save_model(folder / "run", model, {}, some_weights());
  EXPECT_TRUE(load_model(folder / "run").vocabulary.empty());
  EXPECT_EQ(load_model(folder / "run").program, "no line end");
  EXPECT_EQ(load_weights(folder / "run", kParams).size(), 2u);
  EXPECT_FALSE(std::filesystem::exists(folder / "run/vocab.txt"));
}

TEST(Checkpoint, SavingAgainReplacesTheWeights) {
  const TemporaryFolder folder;
  save_model(folder / "run", a_model(), kTokens, some_weights());
  std::vector<SafeTensor> weights = some_weights();
  weights[1] = float_tensor("b", {2}, std::span(kMatrix).first(2));
  save_model(folder / "run", a_model(), kTokens, weights);
  EXPECT_EQ(load_weights(folder / "run", kParams)[1], (std::vector<float>{1, 2}));
}

TEST(Checkpoint, AFailedSaveLeavesTheModelThatWasThere) {
  const TemporaryFolder folder;
  save_model(folder / "run", a_model(), kTokens, some_weights());
  const std::string before = read_whole_file(folder / "run/model.safetensors");
  SavedModel model = a_model();
  model.settings["dropout"] = std::nan("");
  const auto save = [&](std::vector<std::string> tokens, std::vector<SafeTensor> weights) {
    return refusal([&] { save_model(folder / "run", model, tokens, weights); });
  };
  expect_part(save(kTokens, some_weights()), "setting 'dropout': found nan");
  model = a_model();
  expect_part(save({"line\nbreak"}, some_weights()), "token 0");
  model.name = "\xff";
  expect_part(save(kTokens, some_weights()), "not UTF-8");
  model = a_model();
  expect_part(save(kTokens, {float_tensor("u", {}, kOne), float_tensor("u", {}, kOne)}),
              "a tensor named 'u'");
  EXPECT_EQ(read_whole_file(folder / "run/model.safetensors"), before);
  EXPECT_EQ(load_weights(folder / "run", kParams)[0], kMatrix);
}

TEST(Checkpoint, AFullDiskLeavesTheModelThatWasThere) {
  const TemporaryFolder folder;
  save_model(folder / "run", a_model(), kTokens, some_weights());
  SavedModel other = a_model();
  other.program = "program other";
  const std::vector<float> many(5000);
  {
    const FullDisk full(10'000);  // enough for all but the weights
    expect_part(refusal([&] {
                  save_model(folder / "run", other, std::vector<std::string>{"<unk>"},
                             std::vector{float_tensor("u", {5000}, many)});
                }),
                "model.safetensors: cannot write the file");
  }
  EXPECT_EQ(load_model(folder / "run").program, a_model().program);
  EXPECT_EQ(load_weights(folder / "run", kParams)[0], kMatrix);
}

TEST(Checkpoint, WeightsOfAnotherModelAreRefused) {
  const TemporaryFolder folder;
  save_model(folder / "run", a_model(), kTokens, some_weights());
  // As if the process had died between the files.
  folder.write("run/vocab.txt", "<unk>\nother\n");
  EXPECT_EQ(refusal([&] { load_weights(folder / "run", kParams); }),
            folder / "run/model.safetensors" +
                ": found weights that were saved with another model.json or vocab.txt than those "
                "beside it");
  save_safetensors(folder / "run/model.safetensors", some_weights());
  EXPECT_EQ(load_weights(folder / "run", kParams).size(), 2u) << "weights of another tool";
}

TEST(Checkpoint, ListsAllDifferencesFromTheProgram) {
  const TemporaryFolder folder;
  const std::int64_t number = 1;
  const SafeTensor weights[] = {float_tensor("u", {3, 2}, kMatrix),
                                float_tensor("old", {2}, kVector),
                                {.name = "count",
                                 .dtype = "I64",
                                 .shape = {},
                                 .bytes = {reinterpret_cast<const char*>(&number), sizeof number}}};
  save_safetensors(folder / "w", weights);
  std::vector<ir::Param> params = kParams;
  params.push_back({.name = "count", .shape = {}, .initializer = {}});
  const Safetensors read(folder / "w");
  EXPECT_EQ(refusal([&] { read_params(read, params); }),
            folder / "w" +
                ": the weights are not those of the program\n"
                "  'u': found F32[3, 2], expected F32[2, 3]\n"
                "  'b': found none, expected F32[2]\n"
                "  'count': found I64[], expected F32[]\n"
                "  'old': found F32[2], expected no such param");
}

TEST(Checkpoint, WeightsThatAreNotFiniteMustBeAllowed) {
  const TemporaryFolder folder;
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  for (const auto& [values, message] :
       {std::pair{std::vector<float>{1, 2, 3, 4, nan, inf}, "param 'u': found nan at [1, 1]"},
        std::pair{std::vector<float>{1, 2, -inf, 4, 5, 6}, "param 'u': found -inf at [0, 2]"}}) {
    save_model(folder / "run", a_model(), kTokens,
               std::vector{float_tensor("u", {2, 3}, values), float_tensor("b", {2}, kVector)});
    EXPECT_EQ(refusal([&] { load_weights(folder / "run", kParams); }),
              folder / "run/model.safetensors" + ": " + message +
                  ", expected finite numbers (--allow-non-finite loads what is there)");
    EXPECT_EQ(load_weights(folder / "run", kParams, NonFinite::allow)[0][2], values[2]);
  }
  // Finite as it is stored, but not as a float.
  const std::vector<double> large = {1, 1e300};
  const SafeTensor tensor{.name = "b",
                          .dtype = "F64",
                          .shape = {2},
                          .bytes = {reinterpret_cast<const char*>(large.data()), 16}};
  save_safetensors(folder / "w", {&tensor, 1});
  const Safetensors read(folder / "w");
  expect_part(refusal([&] { read_params(read, std::span(kParams).last(1)); }),
              "param 'b': found inf at [1]");
}

TEST(Checkpoint, RefusesAModelFileThatItDidNotWrite) {
  const TemporaryFolder folder;
  const auto complaint = [&](const std::string& text) {
    folder.write("model.json", text);
    const std::string message = refusal([&] { load_model(folder / ""); });
    EXPECT_TRUE(message.starts_with(folder / "model.json" + ": ")) << message;
    return message;
  };
  const std::string start = R"({"format":"espalier-model","version":1)";
  const std::string rest = R"(,"model":"m","settings":{},"vocabulary":null,"program":[])";
  expect_part(refusal([&] { load_model(folder / "none"); }), "No such file");
  expect_part(complaint("{"), "found text that is not JSON");
  expect_part(complaint(start + R"(,"settings":{"x":)" + std::string(1'000'000, '[')),
              "found JSON nested over 16 deep");
  expect_part(complaint(start + R"(,"version":2)" + rest + "}"), "found the name 'version' twice");
  const std::string large(100'000, 'x');
  for (const std::string& text :
       {"[\"" + large, start + ",\"" + large + "\":1}", start + R"(,"model":)" + large,
        R"({"format":"espalier-model","version":")" + large + "\"}",
        start + R"(,"model":"m","settings":{")" + large + R"(":[]},"program":[]})",
        start + R"(,"model":"m","settings":{},"program":[],"vocabulary":")" + large + "\"}"})
    EXPECT_LT(complaint(text).size(), 600u);
  expect_part(complaint("[]"), "expected a model saved by espalier");
  expect_part(complaint(R"({"format":"other"})"), "expected a model saved by espalier");
  expect_part(complaint(R"({"format":"espalier-model"})"), "found no \"version\"");
  expect_part(complaint(R"({"format":"espalier-model","version":2})"), "found version 2");
  expect_part(complaint(start + rest + R"(,"modle":1})"), "the key 'modle'");
  expect_part(complaint(start + R"(,"model":3,"settings":{},"vocabulary":null,"program":[]})"),
              "found a model that is not a string");
  expect_part(complaint(start + R"(,"model":"m","settings":[],"vocabulary":null,"program":[]})"),
              "found settings that are no object");
  expect_part(
      complaint(start + R"(,"model":"m","settings":{"a":[]},"vocabulary":null,"program":[]})"),
      "found a setting 'a'");
  expect_part(complaint(start + R"(,"model":"m","settings":{},"vocabulary":"../x","program":[]})"),
              "found vocabulary \"../x\"");
  expect_part(complaint(start + R"(,"model":"m","settings":{},"vocabulary":null,"program":"x"})"),
              "found a program that is not a list");
  folder.write("model.json", start + rest + "}");
  EXPECT_EQ(load_model(folder / "").program, "");
}

TEST(Checkpoint, GivesSettingsByName) {
  const Settings settings = a_model().settings;
  EXPECT_EQ(setting<std::int64_t>(settings, "hidden"), 150);
  EXPECT_EQ(setting<double>(settings, "dropout"), 0.5);
  EXPECT_TRUE(setting<bool>(settings, "freeze"));
  EXPECT_EQ(setting<std::string>(settings, "data"), "sst:\\\"ä");
  EXPECT_EQ(refusal([&] { setting<double>(settings, "dropuot"); }),
            "settings: found no 'dropuot'; nearest: 'dropout'");
  EXPECT_EQ(refusal([&] { setting<bool>(settings, "hidden"); }),
            "setting 'hidden': found a value of another type");
}

}  // namespace
}  // namespace espalier
