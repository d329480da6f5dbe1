// Targets: what this machine offers, and refusals that name it.
#include "codegen/kernel/target.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "codegen/cpu/host_targets.h"

namespace espalier::codegen {
namespace {

TEST(HostTargets, AreOrderedFromTheWidest) {
  const std::vector<Target> targets = host_targets();
  ASSERT_FALSE(targets.empty());
  EXPECT_EQ(targets.back().name, "portable");
  for (std::size_t i = 1; i < targets.size(); ++i)
    EXPECT_GT(targets[i - 1].width, targets[i].width);
  EXPECT_EQ(host_target(), targets.front());
  for (const Target& target : targets) EXPECT_EQ(host_target(target.name), target);
}

TEST(HostTargets, RefusalsListWhatThereIs) {
  try {
    host_target("avx1024");
    FAIL();
  } catch (const UserError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("avx1024"), std::string::npos) << text;
    EXPECT_NE(text.find("portable"), std::string::npos) << text;
  }
}

TEST(TileShapes, RefuseTooManyGates) {
  for (const Target& target : host_targets()) {
    EXPECT_THROW(tile_shape(target, max_gates(target) + 1, 150), InternalError);
    EXPECT_THROW(tile_shape(target, 0, 150), InternalError);
  }
}

TEST(TileShapes, OfTheBinaryTreeLstm) {
  // The fastest of the shapes that were measured.
  const Target avx512{"avx512", "", "", 16, 32, true};
  EXPECT_EQ(tile_shape(avx512, 5, 150).rows, 5);
  EXPECT_EQ(tile_shape(avx512, 5, 150).vectors, 1);
}

}  // namespace
}  // namespace espalier::codegen
