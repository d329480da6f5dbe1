// Model, the base class of users' models: params, states and cells, traced into an ir::Program.
// This is the header that models include; README.md and docs/tutorial.md show its use. A cell is
// traced when it is made: its lambda runs once, on symbolic tensors.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeindex>
#include <vector>

#include "frontend/cell.h"
#include "frontend/fold.h"
#include "frontend/ops.h"
#include "frontend/state.h"
#include "frontend/tensor.h"
#include "ir/program.h"

namespace espalier {
namespace detail {

/// Traces one cell: opens the trace, makes the values of the ports in order, and adds the cell. The
/// program stays unchanged if `finish` is not reached.
class CellTracer {
 public:
  /// UserError if the name is invalid or taken, or if another cell is being traced.
  CellTracer(ModelData& model, std::string name);
  ~CellTracer();
  CellTracer(const CellTracer&) = delete;
  CellTracer& operator=(const CellTracer&) = delete;

  Index index_port();
  /// The fields of a Child or Children port of that state.
  std::vector<Tensor> state_port(ir::PortKind kind, ir::StateId state);
  /// Adds the cell; UserError unless `outputs` are the fields of the state.
  ir::CellId finish(ir::StateId state, std::span<const Tensor> outputs);

  /// The state of a struct; UserError if it is not declared.
  ir::StateId state_of(std::type_index type, std::string_view type_name) const;
  /// The state of a single tensor.
  ir::StateId state_of(const Shape& shape);
  /// The shape of a returned tensor; UserError if it is empty.
  Shape output_shape(const Tensor& output) const;

 private:
  std::string describe(const ir::Node& node) const;

  ModelData& model_;
  std::size_t states_before_;
  std::shared_ptr<Trace> trace_;
  ir::Cell cell_;
  bool finished_ = false;
};

/// R(Args...) of a lambda's operator(), without const and references.
template <class F>
struct SignatureOf {};
template <class R, class C, class... Args>
struct SignatureOf<R (C::*)(Args...) const> {
  using type = std::decay_t<R>(std::decay_t<Args>...);
};
template <class R, class C, class... Args>
struct SignatureOf<R (C::*)(Args...)> : SignatureOf<R (C::*)(Args...) const> {};

template <class Body>
concept TypedBody = requires { &Body::operator(); };

/// Runs a body with ports as arguments and makes a cell of its result.
template <class Signature>
class BodyTracer;

template <class R, class... Args>
class BodyTracer<R(Args...)> {
 public:
  static_assert(((std::same_as<Args, Index> || std::same_as<Args, Tensor> || StateStruct<Args> ||
                  is_children<Args>) &&
                 ...),
                "a body takes Index, Tensor, plain structs of one to eight Tensors, or Children");
  static_assert(std::same_as<R, Tensor> || StateStruct<R>,
                "a body returns Tensor or a plain struct of one to eight Tensors");

  BodyTracer(CellTracer& tracer, std::span<const Shape> shapes)
      : tracer_(tracer), shapes_(shapes) {}

  static constexpr std::size_t tensor_ports =
      (std::size_t{0} + ... + (std::same_as<Args, Tensor> || std::same_as<Args, Children<Tensor>>));

  template <class Body>
  ir::CellId run(const Body& body) {
    std::tuple<Args...> arguments{argument<Args>()...};  // braces evaluate in order
    const R result = std::apply(body, arguments);
    if constexpr (std::same_as<R, Tensor>) {
      const ir::StateId state = tracer_.state_of(tracer_.output_shape(result));
      return tracer_.finish(state, std::span(&result, 1));
    } else {
      std::vector<Tensor> fields;
      for (const Tensor* field : fields_of(result)) fields.push_back(*field);
      return tracer_.finish(tracer_.state_of(typeid(R), type_name<R>()), fields);
    }
  }

 private:
  template <class Argument>
  Argument argument() {
    if constexpr (std::same_as<Argument, Index>) {
      return tracer_.index_port();
    } else if constexpr (is_children<Argument>) {
      return of_state<Argument>(ir::PortKind::children, Argument{});
    } else {
      return fields<Argument>(ir::PortKind::child);
    }
  }

  template <class Argument, class S>
  Argument of_state(ir::PortKind kind, const Children<S>&) {
    return Argument{fields<S>(kind)};
  }

  template <class S>
  S fields(ir::PortKind kind) {
    if constexpr (std::same_as<S, Tensor>) {
      return tracer_.state_port(kind, tracer_.state_of(shapes_[next_shape_++])).front();
    } else {
      return make_state<S>(tracer_.state_port(kind, tracer_.state_of(typeid(S), type_name<S>())));
    }
  }

  CellTracer& tracer_;
  std::span<const Shape> shapes_;
  std::size_t next_shape_ = 0;
};

}  // namespace detail

class Model {
 public:
  /// UserError unless the name consists of letters, digits and `_ - .`.
  explicit Model(std::string name);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  Model(Model&&) = default;
  Model& operator=(Model&&) = default;

  const std::string& name() const;
  /// Everything declared so far. An engine is constructed from it.
  const ir::Program& program() const;

  /// Declares the shapes of the fields of the plain struct S, in order. UserError if S is already
  /// declared.
  template <detail::StateStruct S, std::convertible_to<Shape>... Shapes>
  void declare_state(const Shapes&... shapes) {
    static_assert(sizeof...(Shapes) == detail::count_fields<S>(), "one Shape for each field");
    add_state(typeid(S), std::string(detail::type_name<S>()), {Shape(shapes)...});
  }

  /// Adds a param. By default matrices are initialized with Glorot's uniform distribution, vectors
  /// with 0. UserError if the name is taken, or has other characters than letters, digits and
  /// `_ - .`.
  Param param(const std::string& name, const Shape& shape);
  Param param(const std::string& name, const Shape& shape, const Initializer& initializer);

  /// Traces `body`, a lambda. Its parameters become the ports of the cell, its result the cell's
  /// state. UserError for a name that is taken, an undeclared state, or an error in an op.
  template <detail::TypedBody Body>
  auto cell(const std::string& name, const Body& body) {
    return cell(name, {}, body);
  }
  /// The same, with the shapes of the Tensor and Children<Tensor> parameters in order.
  template <detail::TypedBody Body>
  auto cell(const std::string& name, std::initializer_list<Shape> shapes, const Body& body) {
    using Signature = typename detail::SignatureOf<decltype(&Body::operator())>::type;
    using Tracer = detail::BodyTracer<Signature>;
    check_shapes(name, Tracer::tensor_ports, shapes.size());
    detail::CellTracer tracer(*data_, name);
    const ir::CellId id = Tracer(tracer, shapes).run(body);
    return Cell<Signature>(id, mark(id));
  }

 private:
  void add_state(std::type_index type, std::string name, std::initializer_list<Shape> shapes);
  std::uint32_t mark(ir::CellId cell) const;
  static void check_shapes(const std::string& cell, std::size_t expected, std::size_t found);

  std::shared_ptr<detail::ModelData> data_;
};

}  // namespace espalier
