#include "runtime/cuda/cublas.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "codegen/cuda/toolkit.h"

namespace espalier::runtime {
namespace {

/// Alignment of all matrices of the engine, in bytes.
constexpr std::int64_t usual_alignment = 32;

/// Alignment in bytes of every row of a matrix. `first`: offset of the first row; `pitch`: distance
/// between rows; both in elements.
std::uint32_t row_alignment(std::int64_t first, std::int64_t pitch, std::int64_t element_bytes) {
  return std::uint32_t(std::gcd(usual_alignment, std::gcd(first, pitch) * element_bytes));
}

SharedLibrary open_library() {
  return SharedLibrary(
      codegen::toolkit_files({"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}));
}

std::string version_of(decltype(&::cublasLtGetProperty) property) {
  int number[3] = {};
  const libraryPropertyType parts[] = {MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL};
  for (int i = 0; i < 3; ++i)
    if (!property || property(parts[i], &number[i]) != CUBLAS_STATUS_SUCCESS) return {};
  return fmt::format("{}.{}.{}", number[0], number[1], number[2]);
}

template <class T>
using Owner = std::unique_ptr<T, cublasStatus_t (*)(T*)>;

using Layout = Owner<std::remove_pointer_t<cublasLtMatrixLayout_t>>;
using Desc = Owner<std::remove_pointer_t<cublasLtMatmulDesc_t>>;
using Preference = Owner<std::remove_pointer_t<cublasLtMatmulPreference_t>>;

cublasComputeType_t compute_type(Precision precision) {
  switch (precision) {
    case Precision::single:
      return CUBLAS_COMPUTE_32F_PEDANTIC;
    case Precision::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::bf16:
      return CUBLAS_COMPUTE_32F;
  }
  return CUBLAS_COMPUTE_32F_PEDANTIC;
}

/// Whether the library does not support the call. Other failures may be temporary.
bool is_unsupported(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
         status == CUBLAS_STATUS_ARCH_MISMATCH;
}

ContractionKey contraction_key(const codegen::LibraryContraction& contraction, std::int64_t rows) {
  return {
      .over_rows = contraction.over_rows,
      .accumulates = contraction.accumulates,
      .out_alignment = row_alignment(contraction.out_offset, contraction.out_pitch, sizeof(float)),
      .m = contraction.m,
      .k = contraction.k,
      .a_pitch = contraction.a_pitch,
      .b_pitch = contraction.b_pitch,
      .out_pitch = contraction.out_pitch,
      .rows = contraction.over_rows ? rows : 0};
}

std::size_t mix(std::size_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x9e3779b97f4a7c15 ^ (hash >> 29);
}

}  // namespace

/// cuBLAS matrices are column-major, so our row-major matrices are transposed there: out = x · w
/// becomes outᵀ = wᵀ · xᵀ. Its operand A is therefore our w, whose elements lie along rows of out.
struct Cublas::Call : ContractionLibrary::Call {
  CallKey key;
  Desc desc{nullptr, nullptr};
  Layout a{nullptr, nullptr}, b{nullptr, nullptr}, out{nullptr, nullptr};
  CublasAlgorithm algorithm{};
  float beta = 0;
};

std::size_t Cublas::Hash::operator()(const ContractionKey& key) const {
  std::size_t hash = key.over_rows + 2 * key.accumulates + 4 * key.out_alignment;
  for (const std::int64_t value : {key.m, key.k, key.a_pitch, key.b_pitch, key.out_pitch, key.rows})
    hash = mix(hash, std::uint64_t(value));
  return hash;
}

std::size_t Cublas::Hash::operator()(const CallKey& key) const {
  std::size_t hash = (*this)(key.key);
  for (const void* pointer : {key.a, key.b, static_cast<const void*>(key.out)})
    hash = mix(hash, reinterpret_cast<std::uintptr_t>(pointer));
  return mix(hash, std::uint64_t(key.rows));
}

bool has_cublas() { return bool(open_library()); }

std::string cublas_version() {
  const SharedLibrary library = open_library();
  const std::string version =
      version_of(library.find<decltype(&::cublasLtGetProperty)>("cublasLtGetProperty"));
  return version.empty() ? "not found (libcublasLt.so.13)"
                         : fmt::format("{} ({})", version, library.name());
}

Cublas::Cublas(const CudaDevice& device, Precision precision)
    : device_(device), precision_(precision), library_(open_library()) {
  user_check(bool(library_), "found no cuBLAS (libcublasLt.so.13)");
  const auto find = [&]<class Function>(Function& function, const char* name) {
    function = library_.find<Function>(name);
    user_check(function != nullptr, "{} lacks {}: expected cuBLAS 12 or newer", library_.name(),
               name);
  };
  CublasFunctions& f = functions_;
  find(f.create, "cublasLtCreate");
  find(f.destroy, "cublasLtDestroy");
  find(f.property, "cublasLtGetProperty");
  find(f.desc_create, "cublasLtMatmulDescCreate");
  find(f.desc_destroy, "cublasLtMatmulDescDestroy");
  find(f.desc_set, "cublasLtMatmulDescSetAttribute");
  find(f.layout_create, "cublasLtMatrixLayoutCreate");
  find(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
  find(f.preference_create, "cublasLtMatmulPreferenceCreate");
  find(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  find(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  find(f.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(f.algorithm_check, "cublasLtMatmulAlgoCheck");
  find(f.algorithm_get, "cublasLtMatmulAlgoConfigGetAttribute");
  find(f.multiply, "cublasLtMatmul");
  version_ = version_of(f.property);
  device_.use();
  workspace_ = device_.allocate(workspace_bytes, "cuBLAS's workspace");
  check(f.create(&handle_), "cublasLtCreate");
}

Cublas::~Cublas() {
  device_.driver().functions().context_set_current(device_.context());
  functions_.destroy(handle_);
}

void Cublas::check(cublasStatus_t status, std::string_view function, std::string_view what) const {
  internal_check(status == CUBLAS_STATUS_SUCCESS, "{} failed{}{}: status {}", function,
                 what.empty() ? "" : " for ", what, int(status));
}

std::unique_ptr<Cublas::Call> Cublas::make_call(const codegen::LibraryContraction& contraction,
                                                const CallKey& key) const {
  const CublasFunctions& f = functions_;
  const auto layout = [&](cudaDataType_t type, std::int64_t columns, std::int64_t rows,
                          std::int64_t pitch) {
    cublasLtMatrixLayout_t made = nullptr;
    check(f.layout_create(&made, type, std::uint64_t(columns), std::uint64_t(rows), pitch),
          "cublasLtMatrixLayoutCreate");
    return Layout(made, f.layout_destroy);
  };
  cublasLtMatmulDesc_t desc = nullptr;
  check(f.desc_create(&desc, compute_type(precision_), CUDA_R_32F), "cublasLtMatmulDescCreate");
  auto call = std::make_unique<Call>();
  call->key = key;
  call->desc = Desc(desc, f.desc_destroy);
  const cudaDataType_t type = precision_ == Precision::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  const std::int64_t m = contraction.m, k = contraction.k, rows = key.rows;
  if (contraction.over_rows) {
    // gradientᵀ [k, m] = rightᵀ [k, rows] · left [rows, m]; the library sees `left` transposed.
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check(f.desc_set(desc, CUBLASLT_MATMUL_DESC_TRANSB, &transposed, sizeof transposed),
          "cublasLtMatmulDescSetAttribute");
    call->a = layout(type, k, rows, contraction.b_pitch);
    call->b = layout(type, m, rows, contraction.a_pitch);
    call->out = layout(CUDA_R_32F, k, m, contraction.out_pitch);
    call->beta = contraction.accumulates ? 1.0F : 0.0F;
  } else {
    call->a = layout(type, m, k, contraction.b_pitch);
    call->b = layout(type, k, rows, contraction.a_pitch);
    call->out = layout(CUDA_R_32F, m, rows, contraction.out_pitch);
  }
  return call;
}

std::vector<CublasAlgorithm> Cublas::candidates(const codegen::LibraryContraction& contraction,
                                                std::int64_t rows, int most) const {
  const CublasFunctions& f = functions_;
  device_.use();
  const ContractionKey key = contraction_key(contraction, rows);
  const std::unique_ptr<Call> call = make_call(contraction, {key, nullptr, nullptr, nullptr, rows});
  cublasLtMatmulPreference_t made = nullptr;
  check(f.preference_create(&made), "cublasLtMatmulPreferenceCreate");
  const Preference preference(made, f.preference_destroy);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(f.preference_set(preference.get(), attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes});
  // A sum that is split over k has an order that depends on the number of rows.
  const std::uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;
  if (!contraction.over_rows) set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, none);
  // The library's A is our b; see Cublas::Call.
  const std::int64_t element_bytes = precision_ == Precision::bf16 ? 2 : 4;
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, row_alignment(0, key.b_pitch, element_bytes));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, row_alignment(0, key.a_pitch, element_bytes));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.out_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.out_alignment);

  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<std::size_t>(most));
  int count = 0;
  const cublasStatus_t status =
      f.heuristic(handle_, call->desc.get(), call->a.get(), call->b.get(), call->out.get(),
                  call->out.get(), preference.get(), most, found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  std::vector<CublasAlgorithm> result;
  for (const auto& one : std::span(found).first(static_cast<std::size_t>(count))) {
    if (one.state != CUBLAS_STATUS_SUCCESS) continue;
    std::uint32_t splits = 1;
    std::size_t written = 0;
    check(f.algorithm_get(&one.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &splits, sizeof splits,
                          &written),
          "cublasLtMatmulAlgoConfigGetAttribute");
    if (!contraction.over_rows && splits > 1) continue;
    result.push_back(std::bit_cast<CublasAlgorithm>(one.algo));
  }
  return result;
}

void Cublas::fix(const codegen::LibraryContraction& contraction, const CublasAlgorithm& algorithm) {
  algorithms_[contraction_key(contraction, 0)] = algorithm;
}

const ContractionLibrary::Call* Cublas::call(const codegen::LibraryContraction& contraction,
                                             const void* a, const void* b, void* out,
                                             std::int64_t rows) {
  const CallKey key{contraction_key(contraction, rows), a, b, out, rows};
  const auto found = calls_.find(key);
  if (found != calls_.end()) return found->second.get();
  auto algorithm = algorithms_.find(key.key);
  if (algorithm == algorithms_.end()) {
    internal_check(contraction.over_rows, "no algorithm was fixed for a contraction [{}, {}]",
                   contraction.m, contraction.k);
    const auto best = candidates(contraction, rows, 1);
    internal_check(!best.empty(),
                   "cuBLAS has no algorithm for an outer product [{}, {}] of {} rows",
                   contraction.m, contraction.k, rows);
    algorithm = algorithms_.emplace(key.key, best[0]).first;
  }
  std::unique_ptr<Call> made = make_call(contraction, key);
  made->algorithm = algorithm->second;
  return calls_.emplace(key, std::move(made)).first->second.get();
}

cublasStatus_t Cublas::multiply(const Call& call) const {
  const float one = 1;
  const auto algorithm = std::bit_cast<cublasLtMatmulAlgo_t>(call.algorithm);
  return functions_.multiply(handle_, call.desc.get(), &one, call.key.b, call.a.get(), call.key.a,
                             call.b.get(), &call.beta, call.key.out, call.out.get(), call.key.out,
                             call.out.get(), &algorithm, reinterpret_cast<void*>(workspace_.get()),
                             workspace_bytes, reinterpret_cast<cudaStream_t>(device_.stream()));
}

void Cublas::run(const ContractionLibrary::Call& call) const {
  const auto& made = static_cast<const Call&>(call);
  const ContractionKey& key = made.key.key;
  check(multiply(made), "cublasLtMatmul",
        fmt::format("{} [{}, {}] of {} rows", key.over_rows ? "an outer product" : "a contraction",
                    key.m, key.k, made.key.rows));
}

bool Cublas::try_algorithm(const codegen::LibraryContraction& contraction, const void* a,
                           const void* b, void* out, std::int64_t rows,
                           const CublasAlgorithm& algorithm) const {
  device_.use();
  const std::unique_ptr<Call> call =
      make_call(contraction, {contraction_key(contraction, rows), a, b, out, rows});
  call->algorithm = algorithm;
  const auto words = std::bit_cast<cublasLtMatmulAlgo_t>(algorithm);
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status =
      functions_.algorithm_check(handle_, call->desc.get(), call->a.get(), call->b.get(),
                                 call->out.get(), call->out.get(), &words, &result);
  if (is_unsupported(status)) return false;
  check(status, "cublasLtMatmulAlgoCheck");
  if (result.workspaceSize > workspace_bytes) return false;
  const cublasStatus_t done = multiply(*call);
  if (is_unsupported(done)) return false;
  check(done, "cublasLtMatmul", "a trial");
  return true;
}

}  // namespace espalier::runtime
