#include "ir/type.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "tests/support/refusal.h"

namespace espalier::ir {
namespace {

using test::refusal;

TEST(Shape, HasAxesAndSize) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[1], 3);
  EXPECT_EQ(shape.size(), 24);
  EXPECT_EQ(Shape{}.rank(), 0);
  EXPECT_EQ(Shape{}.size(), 1);
  EXPECT_EQ((Shape{1 << 20, 1 << 20}.size()), INT64_C(1) << 40);
}

TEST(Shape, GivesRelatedShapes) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.without_first(), (Shape{3, 4}));
  EXPECT_EQ(shape.without(1), (Shape{2, 4}));
  EXPECT_EQ(shape.without(2), (Shape{2, 3}));
  EXPECT_EQ(shape.with(0, 7), (Shape{7, 3, 4}));
  EXPECT_EQ(shape.prepend(5), (Shape{5, 2, 3, 4}));
  EXPECT_EQ(Shape{5}.without(0), Shape{});
  EXPECT_EQ(Shape{}.prepend(5), Shape{5});
}

TEST(Shape, IsEqualAxisByAxis) {
  EXPECT_NE(Shape{6}, (Shape{6, 1}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE(Shape{}, Shape{1});
  // What was there before an axis went does not matter.
  EXPECT_EQ((Shape{2, 3}.without(1)), Shape{2});
}

TEST(Shape, RefusesBadExtents) {
  EXPECT_EQ(refusal([] { Shape{3, 0}; }), "an extent must lie in 1 … 2147483647, found 0");
  EXPECT_EQ(refusal([] { Shape{-4}; }), "an extent must lie in 1 … 2147483647, found -4");
  EXPECT_EQ(refusal([] { Shape{INT64_C(1) << 31}; }),
            "an extent must lie in 1 … 2147483647, found 2147483648");
  EXPECT_EQ(refusal([] { Shape{1, 2, 3, 4, 5}; }), "a shape has at most 4 axes, found 5");
  EXPECT_EQ(refusal([] { (Shape{2, 2, 2, 2}.prepend(2)); }), "a shape has at most 4 axes, found 5");
  EXPECT_EQ(refusal([] { (Shape{2, 3}.with(1, 0)); }),
            "an extent must lie in 1 … 2147483647, found 0");
}

TEST(Shape, RefusesMoreElementsThanFit) {
  EXPECT_EQ(refusal([] { (Shape{1 << 20, 1 << 20, 2}); }),
            "a shape of more than 2^40 elements: [1048576, 1048576, 2]");
  // The product would overflow 64 bits and look small.
  EXPECT_NE(refusal([] {
              (Shape{INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX});
            }).find("more than 2^40 elements"),
            std::string::npos);
  EXPECT_NE(refusal([] { (Shape{1 << 20, 1 << 20, 1 << 30}); }).find("more than 2^40"),
            std::string::npos);
  EXPECT_NE(refusal([] { (Shape{1 << 20, 1 << 20}.prepend(2)); }).find("more than 2^40"),
            std::string::npos);
}

TEST(Type, IsWritten) {
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_EQ(to_string(Shape{3, 4}), "[3, 4]");
  EXPECT_EQ(to_string(Type{DType::f32, {3, 4}, per_instance}), "f32[3, 4]");
  EXPECT_EQ(to_string(Type{DType::i32, {}, 1}), "i32[]*1");
}

TEST(Error, NamesTheNearest) {
  const std::vector<std::string_view> names = {"matmul", "max", "mean"};
  EXPECT_EQ(nearest_name("matmull", names), "matmul");
  EXPECT_EQ(nearest_name("man", names), "max");  // the first of several
  EXPECT_EQ(nearest_name("", names), "max");
  EXPECT_EQ(nearest_name("x", {}), "");
  const std::vector<std::string_view> parts = {"m", "matmul matmul", "matmul"};
  EXPECT_EQ(nearest_name("matmulx", parts), "matmul");
  EXPECT_EQ(nearest_name("xatmul", parts), "matmul");
  EXPECT_EQ(nearest_name("matml", parts), "matmul");
}

TEST(Error, ChecksThrowTheirKind) {
  EXPECT_NO_THROW(user_check(true, "no"));
  EXPECT_EQ(refusal([] { user_check(false, "found {}", 3); }), "found 3");
  EXPECT_EQ(refusal<InternalError>([] { internal_check(false, "found {}", 3); }),
            "internal error: found 3");
}

}  // namespace
}  // namespace espalier::ir
