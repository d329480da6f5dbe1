#include "app/usual_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace espalier::app {
namespace {

struct UsualName {
  std::string_view theirs, ours;  // without dashes in front
  std::string_view note = "";
};

constexpr std::string_view kVectorsNote = ", the size of word vectors: they begin at random values";

// A name may stand for several flags, of which a verb has one.
constexpr UsualName kUsualNames[] = {
    {"alpha", "lr"},
    {"arch", "model"},
    {"b", "batch"},
    {"batch-size", "batch"},
    {"bs", "batch"},
    {"checkpoint", "load"},
    {"checkpoint", "save"},
    {"checkpoint-dir", "load"},
    {"checkpoint-dir", "save"},
    {"clip-norm", "clip"},
    {"corpus", "data"},
    {"cpu", "device"},
    {"cuda", "device"},
    {"d", "data"},
    {"data-dir", "data"},
    {"data-path", "data"},
    {"dataset", "data"},
    {"decay", "l2"},
    {"dim", "hidden"},
    {"drop", "dropout"},
    {"dropout-prob", "dropout"},
    {"dropout-rate", "dropout"},
    {"early-stop", "patience"},
    {"early-stopping", "patience"},
    {"emb-dim", "embed"},
    {"emb-lr", "embed-lr"},
    {"emb-size", "embed"},
    {"embed-dim", "embed"},
    {"embed-size", "embed"},
    {"embedding", "embed"},
    {"embedding-dim", "embed"},
    {"embedding-lr", "embed-lr"},
    {"embedding-size", "embed"},
    {"embeddings", "embed", kVectorsNote},
    {"epoch", "epochs"},
    {"eta", "lr"},
    {"fasttext", "embed", kVectorsNote},
    {"force", "overwrite"},
    {"glove", "embed", kVectorsNote},
    {"gpu", "device"},
    {"grad-clip", "clip"},
    {"gradient-clip", "clip"},
    {"gradient-clipping", "clip"},
    {"gradient-clip-val", "clip"},
    {"h", "help"},
    {"hidden-dim", "hidden"},
    {"hidden-size", "hidden"},
    {"hidden-units", "hidden"},
    {"input", "data"},
    {"input-dim", "embed"},
    {"j", "threads"},
    {"jobs", "threads"},
    {"l2-reg", "l2"},
    {"learning-rate", "lr"},
    {"learning-rate-schedule", "lr-schedule"},
    {"limit", "examples"},
    {"log-dir", "save"},
    {"loss-at", "loss"},
    {"lr-decay", "lr-schedule"},
    {"lr-scheduler", "lr-schedule"},
    {"max-epochs", "epochs"},
    {"max-grad", "clip"},
    {"max-iter", "epochs"},
    {"max-length", "max-tokens"},
    {"max-memory", "memory-limit"},
    {"max-samples", "examples"},
    {"mem-dim", "hidden"},
    {"memory", "memory-limit"},
    {"mini-batch", "batch"},
    {"mini-batch-size", "batch"},
    {"model-dir", "load"},
    {"model-dir", "save"},
    {"model-name", "model"},
    {"model-path", "load"},
    {"n-epochs", "epochs"},
    {"no-cuda", "device"},
    {"num-epochs", "epochs"},
    {"num-threads", "threads"},
    {"num-workers", "threads"},
    {"o", "save"},
    {"optim", "optimizer"},
    {"out", "save"},
    {"output", "save"},
    {"output-dir", "save"},
    {"pretrained", "embed", kVectorsNote},
    {"random-seed", "seed"},
    {"reg", "l2"},
    {"regularization", "l2"},
    {"rng-seed", "seed"},
    {"save-dir", "save"},
    {"save-path", "save"},
    {"scheduler", "lr-schedule"},
    {"size", "hidden"},
    {"solver", "optimizer"},
    {"train", "data"},
    {"train-file", "data"},
    {"vectors", "embed", kVectorsNote},
    {"vocab-size", "vocab"},
    {"warmup", "warmup-steps"},
    {"wd", "l2"},
    {"weight-decay", "l2"},
    {"word-dim", "embed"},
    {"word-vectors", "embed", kVectorsNote},
    {"word2vec", "embed", kVectorsNote},
    {"workers", "threads"},
};

/// As flags are written here: `batch-size` for `--batch_size` and `-Batch-Size`.
std::string normal(std::string_view flag) {
  flag.remove_prefix(std::min(flag.find_first_not_of('-'), flag.size()));
  std::string name(flag);
  for (char& c : name) {
    if (c == '_') c = '-';
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

}  // namespace

std::string unknown_flag(std::string_view flag, std::span<const std::string> names) {
  const std::string name = normal(flag);
  const auto known = [&](std::string_view ours) {
    return std::ranges::find(names, "--" + std::string(ours)) != names.end();
  };
  if (known(name)) return fmt::format("unknown flag '{}'; here it is '--{}'", flag, name);
  for (const UsualName& usual : kUsualNames)
    if (usual.theirs == name && known(usual.ours))
      return fmt::format("unknown flag '{}'; here it is '--{}'{}", flag, usual.ours, usual.note);
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::string nearest = nearest_name(flag, views);
  if (edit_distance(name, normal(nearest)) > std::max<std::size_t>(1, name.size() / 2))
    return fmt::format("unknown flag '{}'; '--help' lists those that there are", flag);
  return fmt::format("unknown flag '{}'; nearest: '{}'", flag, nearest);
}

}  // namespace espalier::app
