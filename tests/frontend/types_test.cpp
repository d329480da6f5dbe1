// What compiles and, above all, what does not.
#include <gtest/gtest.h>

#include <list>
#include <span>

#include "tests/frontend/support.h"

namespace espalier {
namespace {

struct One {
  Tensor x;
};
struct Pair {
  Tensor h, c;
};
struct OtherPair {
  Tensor h, c;
};
struct Nine {
  Tensor a, b, c, d, e, f, g, h, i;
};
struct Mixed {
  Tensor a;
  int b;
};
class Hidden {
  [[maybe_unused]] Tensor a;
};
struct Empty {};

static_assert(detail::StateStruct<One> && detail::count_fields<One>() == 1);
static_assert(detail::StateStruct<Pair> && detail::count_fields<Pair>() == 2);
static_assert(!detail::StateStruct<Nine>);
static_assert(!detail::StateStruct<Mixed>);
static_assert(!detail::StateStruct<Hidden>);
static_assert(!detail::StateStruct<Empty>);
static_assert(!detail::StateStruct<Tensor>);
static_assert(!detail::StateStruct<int>);

// Calls: number, kinds and states of the arguments.
using Leaf = Cell<Pair(Index)>;
using Node = Cell<Pair(Pair, Pair)>;
using Loss = Cell<Tensor(Pair, Index)>;
using Many = Cell<Pair(Index, Children<Pair>)>;
using Sum = Cell<Tensor(Tensor)>;

static_assert(std::is_invocable_r_v<Call<Pair>, Instances, Leaf, int>);
static_assert(std::is_invocable_v<Instances, Leaf, std::size_t>);
static_assert(!std::is_invocable_v<Instances, Leaf>);
static_assert(!std::is_invocable_v<Instances, Leaf, int, int>);
static_assert(!std::is_invocable_v<Instances, Leaf, double>);
static_assert(!std::is_invocable_v<Instances, Leaf, bool>);
static_assert(!std::is_invocable_v<Instances, Leaf, Call<Pair>>);

static_assert(std::is_invocable_r_v<Call<Pair>, Instances, Node, Call<Pair>, Call<Pair>>);
static_assert(!std::is_invocable_v<Instances, Node, Call<Pair>>);
static_assert(!std::is_invocable_v<Instances, Node, Call<Pair>, Call<Pair>, Call<Pair>>);
static_assert(!std::is_invocable_v<Instances, Node, Call<Pair>, Call<OtherPair>>);
static_assert(!std::is_invocable_v<Instances, Node, Call<Pair>, Call<Tensor>>);
static_assert(!std::is_invocable_v<Instances, Node, Call<Pair>, int>);

static_assert(std::is_invocable_r_v<Call<Tensor>, Instances, Loss, Call<Pair>, int>);
static_assert(!std::is_invocable_v<Instances, Loss, int, Call<Pair>>);
static_assert(std::is_invocable_v<Instances, Sum, Call<Tensor>>);
static_assert(!std::is_invocable_v<Instances, Sum, Call<Pair>>);
static_assert(!std::is_invocable_v<Instances, Sum, double>);

static_assert(std::is_invocable_v<Instances, Many, int, std::vector<Call<Pair>>>);
static_assert(std::is_invocable_v<Instances, Many, int, std::span<const Call<Pair>>>);
static_assert(std::is_invocable_v<Instances, Many, int, std::list<Call<Pair>>>);
static_assert(!std::is_invocable_v<Instances, Many, int, Call<Pair>>);
static_assert(!std::is_invocable_v<Instances, Many, int, std::vector<Call<OtherPair>>>);
static_assert(!std::is_invocable_v<Instances, Many, std::vector<Call<Pair>>>);

static_assert(!std::is_assignable_v<Leaf&, Node>, "a handle keeps its signature");
static_assert(!std::is_convertible_v<Call<Pair>, Call<OtherPair>>);
static_assert(!std::is_convertible_v<ir::CallHandle, Call<Pair>>);

// Ops: operands are tensors, params, numbers and calls; indices are of their own kind.
template <class A, class B>
concept Adds = requires(A a, B b) { a + b; };
template <class A, class B>
concept Rows = requires(A a, B b) { row(a, b); };
static_assert(Adds<Tensor, Tensor> && Adds<Tensor, Param> && Adds<Param, double>);
static_assert(Adds<int, Tensor> && Adds<Children<Tensor>, Tensor>);
static_assert(Adds<Call<Tensor>, Call<Tensor>> && Adds<Param, Call<Tensor>>);
static_assert(!Adds<Tensor, Index> && !Adds<Tensor, Pair> && !Adds<Call<Pair>, Call<Tensor>>);
static_assert(Rows<Param, Index> && Rows<Tensor, Index> && Rows<Call<Tensor>, int>);
static_assert(!Rows<Param, int> && !Rows<Call<Tensor>, Index> && !Rows<Tensor, Tensor>);

// Model::cell: bodies with a type.
template <class Body>
concept Traces = requires(Model& model, Body body) { model.cell("a", body); };
[[maybe_unused]] const auto typed = [](Pair p) { return p; };
[[maybe_unused]] const auto generic = [](auto p) { return p; };
static_assert(Traces<decltype(typed)>);
static_assert(!Traces<decltype(generic)>);
static_assert(!std::is_copy_constructible_v<Model>);

// What a cell's handle is typed with.
static_assert(std::same_as<decltype(std::declval<Model&>().cell("a", typed)), Cell<Pair(Pair)>>);

TEST(Types, FieldsAreListedInOrder) {
  const Pair pair{constant(1), constant(2, {3})};
  const auto fields = detail::fields_of(pair);
  EXPECT_EQ(fields[0], &pair.h);
  EXPECT_EQ(fields[1], &pair.c);
  EXPECT_EQ(detail::field_index(&Pair::h), 0);
  EXPECT_EQ(detail::field_index(&Pair::c), 1);
  const auto copy = detail::make_state<Pair>(std::vector{pair.c, pair.h});
  EXPECT_EQ(copy.h.shape(), Shape{3});
}

template <class T>
struct Box {
  Tensor x;
};

TEST(Types, NamesHaveNoNamespace) {
  EXPECT_EQ(detail::type_name<Pair>(), "Pair");
  struct Local {
    Tensor x;
  };
  EXPECT_EQ(detail::type_name<Local>(), "Local");
  EXPECT_EQ(detail::type_name<Box<int>>(), "Box<int>");
}

}  // namespace
}  // namespace espalier
