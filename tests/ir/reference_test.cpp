// docs/ops.md is what the op table says.
#include "ir/text/reference.h"

#include <gtest/gtest.h>

#include "ir/op.h"
#include "tests/support/golden.h"

namespace espalier::ir {
namespace {

TEST(Reference, IsTheDocumentedOne) { test::expect_golden("docs/ops.md", op_reference()); }

TEST(Reference, NamesEveryOp) {
  const std::string text = op_reference();
  for (const Op& op : ops())
    EXPECT_NE(text.find("`" + std::string(op.name) + "("), text.npos) << op.name;
}

}  // namespace
}  // namespace espalier::ir
