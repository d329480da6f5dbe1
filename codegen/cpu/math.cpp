// exp, log and tanh as straight-line code on floats of any width. The reductions and polynomials
// follow the Cephes library (S. L. Moshier, "Methods and Programs for Mathematical Functions",
// 1989; expf and logf) with Cody and Waite's split of ln 2. tests/codegen/math_test.cpp scans the
// whole range of floats for the bound that emitter.h states.
#include <cmath>
#include <limits>

#include "codegen/cpu/emitter.h"

namespace espalier::codegen {

namespace {

/// ln 2 in two parts: an integer below 2^15 times the first is exact.
constexpr double ln2_high = 0.693359375, ln2_low = -2.12194440e-4;

/// The functions at one width.
class Math {
 public:
  Math(Builder& b, const Target& target, llvm::Type* floats)
      : b_(b),
        target_(target),
        floats_(floats),
        integers_(floats->getWithNewType(b.getInt32Ty())) {}

  Value* number(double x) { return llvm::ConstantFP::get(floats_, static_cast<float>(x)); }
  Value* integer(std::int64_t x) { return llvm::ConstantInt::getSigned(integers_, x); }
  Value* bits(Value* x) { return b_.CreateBitCast(x, integers_); }
  Value* from_bits(Value* x) { return b_.CreateBitCast(x, floats_); }
  Value* fma(Value* x, Value* y, Value* z) { return emit_fma(b_, target_, x, y, z); }

  /// Horner's rule, the highest coefficient first.
  Value* polynomial(Value* x, std::initializer_list<double> coefficients) {
    Value* sum = nullptr;
    for (double c : coefficients) sum = sum ? fma(sum, x, number(c)) : number(c);
    return sum;
  }

  /// x clamped from below and above; NaN stays.
  Value* at_least(Value* x, double low) {
    return b_.CreateSelect(b_.CreateFCmpOLT(x, number(low)), number(low), x);
  }
  Value* at_most(Value* x, double high) {
    return b_.CreateSelect(b_.CreateFCmpOGT(x, number(high)), number(high), x);
  }

  /// x = n ln 2 + r with |r| ≤ ln 2 / 2, for |x| < 2^20.
  struct Reduced {
    Value* n;  // i32
    Value* r;
  };
  Reduced reduce(Value* x) {
    // Added to 1.5 · 2^23, a number is rounded to an integer, which is then in the low bits.
    Value* magic = number(0x1.8p23);
    Value* shifted = fma(x, number(1.44269504088896341), magic);
    Value* n = b_.CreateFSub(shifted, magic);
    Value* r = fma(n, number(-ln2_high), x);
    r = fma(n, number(-ln2_low), r);
    return {b_.CreateSub(bits(shifted), bits(magic)), r};
  }

  /// e^r - 1 for |r| ≤ ln 2 / 2.
  Value* exp_minus_1(Value* r) {
    Value* p = polynomial(r, {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
                              1.6666665459e-1, 5.0000001201e-1});
    return fma(p, b_.CreateFMul(r, r), r);
  }

  /// 2^n for -126 ≤ n ≤ 127.
  Value* power_of_2(Value* n) {
    return from_bits(b_.CreateShl(b_.CreateAdd(n, integer(127)), integer(23)));
  }

  Value* exp(Value* x) {
    // Beyond these, the result is infinite or 0, and n too large for two factors.
    x = at_most(at_least(x, -105), 90);
    const auto [n, r] = reduce(x);
    Value* y = b_.CreateFAdd(exp_minus_1(r), number(1));
    // Two factors, of which only the second can overflow or round to a denormal.
    Value* half = b_.CreateAShr(n, integer(1));
    y = b_.CreateFMul(y, power_of_2(half));
    return b_.CreateFMul(y, power_of_2(b_.CreateSub(n, half)));
  }

  /// With e = e^2|x| - 1, accurate for small x, tanh |x| = e / (e + 2).
  Value* tanh(Value* x) {
    Value* sign = b_.CreateAnd(bits(x), integer(std::numeric_limits<std::int32_t>::min()));
    Value* magnitude = from_bits(b_.CreateXor(bits(x), sign));
    magnitude = at_most(magnitude, 10);  // where tanh is 1 already
    const auto [n, r] = reduce(b_.CreateFAdd(magnitude, magnitude));
    Value* scale = power_of_2(n);
    Value* e = fma(exp_minus_1(r), scale, b_.CreateFSub(scale, number(1)));
    Value* y = b_.CreateFDiv(e, b_.CreateFAdd(e, number(2)));
    return from_bits(b_.CreateOr(bits(y), sign));
  }

  Value* log(Value* x) {
    const float infinity = std::numeric_limits<float>::infinity();
    Value* denormal = b_.CreateFCmpOLT(x, number(0x1p-126));
    Value* normal = b_.CreateSelect(denormal, b_.CreateFMul(x, number(0x1p23)), x);
    // x = 2^e m with √½ ≤ m < √2
    Value* offset = b_.CreateSub(bits(normal), integer(0x3f3504f3));
    Value* exponent = b_.CreateAShr(offset, integer(23));
    Value* m = from_bits(b_.CreateSub(bits(normal), b_.CreateShl(exponent, integer(23))));
    exponent = b_.CreateSub(exponent, b_.CreateSelect(denormal, integer(23), integer(0)));
    Value* e = b_.CreateSIToFP(exponent, floats_);

    Value* f = b_.CreateFSub(m, number(1));
    Value* z = b_.CreateFMul(f, f);
    Value* p = polynomial(
        f, {7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
            -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1});
    Value* y = b_.CreateFMul(b_.CreateFMul(f, z), p);
    y = fma(e, number(ln2_low), y);
    y = fma(z, number(-0.5), y);
    y = b_.CreateFAdd(f, y);
    y = fma(e, number(ln2_high), y);

    y = b_.CreateSelect(b_.CreateFCmpOLT(x, number(infinity)), y, x);  // ∞ and NaN
    y = b_.CreateSelect(b_.CreateFCmpOLT(x, number(0)),
                        number(std::numeric_limits<float>::quiet_NaN()), y);
    return b_.CreateSelect(b_.CreateFCmpOEQ(x, number(0)), number(-infinity), y);
  }

 private:
  Builder& b_;
  const Target& target_;
  llvm::Type* floats_;
  llvm::Type* integers_;
};

}  // namespace

Value* emit_fma(Builder& b, const Target& target, Value* x, Value* y, Value* z) {
  if (target.fma) return b.CreateIntrinsic(llvm::Intrinsic::fma, {x->getType()}, {x, y, z});
  return b.CreateFAdd(b.CreateFMul(x, y), z);
}

Value* emit_exp(Builder& b, const Target& target, Value* x) {
  return Math(b, target, x->getType()).exp(x);
}
Value* emit_log(Builder& b, const Target& target, Value* x) {
  return Math(b, target, x->getType()).log(x);
}
Value* emit_tanh(Builder& b, const Target& target, Value* x) {
  return Math(b, target, x->getType()).tanh(x);
}

Value* emit_random(Builder& b, Value* low, Value* high, std::uint32_t mask, Value* counter) {
  llvm::Type* type = counter->getType();
  const auto number = [&](std::uint32_t x) { return llvm::ConstantInt::get(type, x); };
  const auto mix = [&](Value* x) {
    x = b.CreateXor(x, b.CreateLShr(x, number(16)));
    x = b.CreateMul(x, number(0x7feb352dU));
    x = b.CreateXor(x, b.CreateLShr(x, number(15)));
    x = b.CreateMul(x, number(0x846ca68bU));
    return b.CreateXor(x, b.CreateLShr(x, number(16)));
  };
  Value* key = b.CreateAdd(high, number(mask * 0x9e3779b9U));
  Value* bits = mix(b.CreateXor(mix(b.CreateAdd(counter, low)), key));
  // Below 2^24, so that a signed conversion does, and is exact.
  llvm::Type* floats = type->getWithNewType(b.getFloatTy());
  Value* integer = b.CreateSIToFP(b.CreateLShr(bits, number(8)), floats);
  return b.CreateFMul(integer, llvm::ConstantFP::get(floats, 0x1p-24));
}

}  // namespace espalier::codegen
