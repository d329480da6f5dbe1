// What an engine gives for a minibatch, against the oracle, as closely as single precision allows
// on the way that its numbers went. For random programs, in which errors grow as they like.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ir/record/recorder.h"
#include "tests/support/oracle.h"

namespace espalier::test {

class OracleCheck {
 public:
  using Floats = std::vector<std::vector<float>>;

  /// The objective is `scale` × the sum of the losses. Dropout draws as in an engine of that seed
  /// at its first step. `record` records the minibatch; it is called once.
  OracleCheck(const ir::Program& program, Oracle::Tensors params, std::uint64_t seed, double scale,
              const std::function<void(const Instances&)>& record);

  /// The first difference; "" if there is none. Values are those of all calls, field by field, of a
  /// minibatch that was recorded without sharing or hoisting, call by call.
  std::string values(const Floats& got);
  std::string gradients(const Floats& got);
  std::string loss(double got);

 private:
  struct Expected {
    Oracle::Tensors values, gradients;
    double loss = 0;
  };
  void expect(std::uint64_t salts);
  std::string compare(const std::string& what, const Floats& got, Oracle::Tensors Expected::* of,
                      const Oracle::Tensors* sizes);

  ir::Program program_;
  double scale_;
  ir::Recorder recorder_;
  Oracle oracle_;
  std::vector<Expected> expected_;  // in double, then with roundings drawn by salts 1, 2, …
  Oracle::Tensors sizes_;           // of the gradients' terms
  double loss_size_ = 0;
};

}  // namespace espalier::test
