// A stand-in for libcublasLt.so.13, whose contractions are plain loops in the order of k. They go
// into the queue of the stand-in for the driver. README.md lists the environment variables.
#include <cublasLt.h>
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#define FAKE extern "C" __attribute__((visibility("default")))

namespace {

struct Layout {
  cudaDataType type;
  std::int64_t rows, columns, pitch;
};
struct Desc {
  cublasComputeType_t compute;
  int transposed[2];
};
/// Promised alignment of A, B, C and D, in bytes.
struct Promise {
  std::uint32_t bytes[4];
};
struct Preference {
  std::uint32_t schemes;
  Promise promise;
};
struct Algorithm {
  std::uint64_t magic, splits, depends_on_rows;
  Promise promise;
  std::uint64_t rest[3];
};
constexpr std::uint64_t magic = 0x6d67;

static_assert(sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t));
static_assert(sizeof(Desc) <= sizeof(cublasLtMatmulDescOpaque_t));
static_assert(sizeof(Preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t));
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));

template <class To, class From>
To& as(From* opaque) {
  return *reinterpret_cast<To*>(opaque);
}

bool is_aligned(std::uint32_t promised, const void* data, const Layout& layout) {
  const std::int64_t element = layout.type == CUDA_R_16BF ? 2 : 4;
  return reinterpret_cast<std::uintptr_t>(data) % promised == 0 &&
         (layout.columns < 2 || layout.pitch * element % promised == 0);
}

float from_bits(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Rounds to 11 significant bits, ties to even.
float rounded_to_tf32(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000) == 0x7f800000) return x;
  bits += 0xfff + (bits >> 13 & 1);
  return from_bits(bits & ~0x1fffU);
}

/// A matrix whose columns lie `pitch` elements apart.
struct Matrix {
  const void* data;
  Layout layout;
  bool transposed, tf32;

  float at(std::int64_t row, std::int64_t column) const {
    if (transposed) std::swap(row, column);
    const std::int64_t i = row + column * layout.pitch;
    if (layout.type == CUDA_R_16BF)
      return from_bits(std::uint32_t{static_cast<const std::uint16_t*>(data)[i]} << 16);
    const float x = static_cast<const float*>(data)[i];
    return tf32 ? rounded_to_tf32(x) : x;
  }
};

/// What follows the version in ESPALIER_FAKE_CUBLAS.
std::string_view mode() {
  const char* const text = std::getenv("ESPALIER_FAKE_CUBLAS");
  const std::string_view all(text ? text : "");
  const std::size_t space = all.find(' ');
  return space == all.npos ? std::string_view() : all.substr(space + 1);
}

bool enqueue(std::function<void()> work) {
  using Enqueue = bool (*)(std::function<void()>);
  static void* const driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  static const auto function =
      reinterpret_cast<Enqueue>(driver ? dlsym(driver, "espalier_fake_enqueue") : nullptr);
  return function && function(std::move(work));
}

}  // namespace

FAKE cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(std::malloc(1));
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  std::free(handle);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtGetProperty(libraryPropertyType type, int* value) {
  const char* const release = std::getenv("ESPALIER_FAKE_CUBLAS");
  *value = type == MINOR_VERSION ? 1 : type == PATCH_LEVEL && release ? std::atoi(release) : 0;
  return CUBLAS_STATUS_SUCCESS;
}

FAKE cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                               std::uint64_t rows, std::uint64_t columns,
                                               std::int64_t pitch) {
  if (pitch < std::int64_t(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new cublasLtMatrixLayoutOpaque_t;
  as<Layout>(*layout) = {type, std::int64_t(rows), std::int64_t(columns), pitch};
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc,
                                             cublasComputeType_t compute, cudaDataType_t scale) {
  if (scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *desc = new cublasLtMatmulDescOpaque_t;
  as<Desc>(*desc) = {compute, {0, 0}};
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                                   cublasLtMatmulDescAttributes_t attribute,
                                                   const void* value, std::size_t) {
  if (attribute != CUBLASLT_MATMUL_DESC_TRANSA && attribute != CUBLASLT_MATMUL_DESC_TRANSB)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  as<Desc>(desc).transposed[attribute == CUBLASLT_MATMUL_DESC_TRANSB] =
      *static_cast<const cublasOperation_t*>(value) == CUBLAS_OP_T;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  as<Preference>(*preference) = {CUBLASLT_REDUCTION_SCHEME_MASK, {{256, 256, 256, 256}}};
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
    const void* value, std::size_t size) {
  auto& set = as<Preference>(preference);
  if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
    std::memcpy(&set.schemes, value, sizeof set.schemes);
  const int matrix = int(attribute) - int(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
  if (matrix >= 0 && matrix < 4)
    std::memcpy(&set.promise.bytes[matrix], value, sizeof set.promise.bytes[matrix]);
  return size == 4 || size == 8 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

FAKE cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                                   cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                                   cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                                   cublasLtMatmulPreference_t preference, int most,
                                                   cublasLtMatmulHeuristicResult_t* results,
                                                   int* count) {
  *count = 0;
  const bool over_rows = as<Desc>(desc).transposed[1];
  if (mode() == "none" && !over_rows) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto offer = [&](Algorithm algorithm) {
    if (*count == most) return;
    algorithm.promise = as<Preference>(preference).promise;
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    result = {};
    std::memcpy(&result.algo, &algorithm, sizeof algorithm);
    result.state = CUBLAS_STATUS_SUCCESS;
  };
  if (as<Preference>(preference).schemes != CUBLASLT_REDUCTION_SCHEME_NONE)
    offer({magic, 3, 0, {}, {}});
  if (mode().ends_with("dependent")) offer({magic, 1, 1, {}, {}});
  if (mode() != "only-dependent") offer({magic, 1, 0, {}, {}});
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                            cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                            cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                            const cublasLtMatmulAlgo_t* algorithm,
                                            cublasLtMatmulHeuristicResult_t* result) {
  if (as<const Algorithm>(algorithm).magic != magic) return CUBLAS_STATUS_INVALID_VALUE;
  result->workspaceSize = 0;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(
    const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute,
    void* value, std::size_t size, std::size_t* written) {
  if (attribute != CUBLASLT_ALGO_CONFIG_SPLITK_NUM || size != 4) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto splits = std::uint32_t(as<const Algorithm>(algorithm).splits);
  std::memcpy(value, &splits, sizeof splits);
  *written = sizeof splits;
  return CUBLAS_STATUS_SUCCESS;
}

FAKE cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc_of,
                                   const void* alpha, const void* a_data,
                                   cublasLtMatrixLayout_t a_layout, const void* b_data,
                                   cublasLtMatrixLayout_t b_layout, const void* beta,
                                   const void* c_data, cublasLtMatrixLayout_t c_layout, void* d,
                                   cublasLtMatrixLayout_t d_layout,
                                   const cublasLtMatmulAlgo_t* algorithm_of, void*, std::size_t,
                                   cudaStream_t) {
  const auto desc = as<Desc>(desc_of);
  const auto algorithm = as<const Algorithm>(algorithm_of);
  const auto out = as<Layout>(d_layout);
  const bool tf32 = desc.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const Matrix a{a_data, as<Layout>(a_layout), desc.transposed[0] != 0, tf32};
  const Matrix b{b_data, as<Layout>(b_layout), desc.transposed[1] != 0, tf32};
  const float times = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta);
  const std::int64_t depth = a.transposed ? a.layout.rows : a.layout.columns;
  if (algorithm.magic != magic || c_data != d || out.type != CUDA_R_32F || times != 1 ||
      std::memcmp(c_layout, d_layout, sizeof(Layout)) != 0 ||
      depth != (b.transposed ? b.layout.columns : b.layout.rows) ||
      out.rows != (a.transposed ? a.layout.columns : a.layout.rows) ||
      out.columns != (b.transposed ? b.layout.rows : b.layout.columns))
    return CUBLAS_STATUS_INVALID_VALUE;
  const std::uint32_t* const promised = algorithm.promise.bytes;
  if (!is_aligned(promised[0], a_data, a.layout) || !is_aligned(promised[1], b_data, b.layout) ||
      !is_aligned(promised[2], c_data, out) || !is_aligned(promised[3], d, out))
    return CUBLAS_STATUS_EXECUTION_FAILED;
  if (const char* const left = std::getenv("ESPALIER_FAKE_CUBLAS_FAILS_AFTER")) {
    const long count = std::strtol(left, nullptr, 10);
    setenv("ESPALIER_FAKE_CUBLAS_FAILS_AFTER", std::to_string(count - 1).c_str(), 1);
    if (count == 0) return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  const bool backwards = algorithm.depends_on_rows != 0 && out.columns > 100;
  const auto splits = std::int64_t(algorithm.splits);
  const auto work = [=] {
    for (std::int64_t column = 0; column < out.columns; ++column)
      for (std::int64_t row = 0; row < out.rows; ++row) {
        float sum = 0;
        for (std::int64_t part = 0; part < splits; ++part) {
          float of_part = 0;
          for (std::int64_t i = depth * part / splits; i < depth * (part + 1) / splits; ++i) {
            const std::int64_t k = backwards ? depth - 1 - i : i;
            of_part = std::fma(a.at(row, k), b.at(k, column), of_part);
          }
          sum += of_part;
        }
        float& to = static_cast<float*>(d)[row + column * out.pitch];
        to = kept == 0 ? sum : kept * to + sum;
      }
  };
  return enqueue(work) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
