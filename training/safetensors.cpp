#include "training/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "training/strict_json.h"

namespace espalier {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensor data is copied as it lies");

constexpr std::size_t kPrefix = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr int kMaxDepth = 16;
constexpr std::string_view kMetadata = "__metadata__";

constexpr std::string_view kTypes[] = {"BOOL", "U8",  "I8",  "I16", "U16", "F16", "BF16",
                                       "I32",  "U32", "F32", "F64", "I64", "U64"};
constexpr std::size_t kSizes[] = {1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 8};
static_assert(std::size(kTypes) == std::size(kSizes));

/// The place of a type in kTypes, nothing if it is not there.
std::optional<std::size_t> type_index(std::string_view dtype) {
  const auto* const found = std::ranges::find(kTypes, dtype);
  if (found == std::end(kTypes)) return std::nullopt;
  return static_cast<std::size_t>(found - kTypes);
}

/// The bytes of a tensor, nothing if the number does not fit.
std::optional<std::uint64_t> byte_size(std::span<const std::int64_t> shape, std::size_t element) {
  std::uint64_t size = element;
  for (std::int64_t extent : shape)
    if (__builtin_mul_overflow(size, static_cast<std::uint64_t>(extent), &size))
      return std::nullopt;
  return size;
}

/// Parses and checks the header of one file; `fail` names the file.
class HeaderReader {
 public:
  explicit HeaderReader(const std::filesystem::path& file) : file_(file.string()) {}

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> message, Args&&... args) const {
    throw UserError(file_ + ": " + fmt::format(message, std::forward<Args>(args)...));
  }

  /// The header's JSON and the data behind it.
  std::pair<json, std::string_view> split(std::string_view content) const {
    if (content.size() < kPrefix)
      fail(
          "found {} bytes, expected a safetensors file: the length of its header in 8 bytes, the "
          "header, the data",
          content.size());
    std::uint64_t length = 0;
    std::memcpy(&length, content.data(), kPrefix);
    if (length > kMaxHeader)
      fail("found a header of {} bytes, expected at most {} (is it a safetensors file?)", length,
           kMaxHeader);
    content.remove_prefix(kPrefix);
    if (length > content.size())
      fail(
          "found {} bytes behind the header's length, expected the header's {} (is the file cut "
          "off?)",
          content.size(), length);
    const std::string_view header = content.substr(0, length);
    if (!header.starts_with('{'))
      fail(
          "found a header that starts with {}, expected '{{'",
          header.empty() ? std::string("nothing") : fmt::format("byte 0x{:02x}", header[0] & 0xff));
    return {parse_json(header, kMaxDepth, file_, "a header"), content.substr(length)};
  }

  SafetensorsMetadata metadata(const json& entry) const {
    if (!entry.is_object())
      fail("__metadata__: found {}, expected an object of strings", shown(entry));
    SafetensorsMetadata result;
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string())
        fail("__metadata__: found {} for '{}', expected a string", shown(value), excerpt(key));
      result[key] = value.get<std::string>();
    }
    return result;
  }

  SafeTensor tensor(const std::string& name, const json& entry, std::string_view data) const {
    if (!entry.is_object())
      fail("tensor '{}': found {}, expected an object with dtype, shape and data_offsets",
           excerpt(name), shown(entry));
    SafeTensor result{.name = name, .dtype = {}, .shape = {}, .bytes = {}};
    const json& dtype = member(name, entry, "dtype");
    if (!dtype.is_string())
      fail("tensor '{}': found dtype {}, expected a string such as \"F32\"", excerpt(name),
           shown(dtype));
    result.dtype = dtype.get<std::string>();

    const json& shape = member(name, entry, "shape");
    const bool extents =
        shape.is_array() && std::ranges::all_of(shape, [](const json& extent) {
          return extent.is_number_unsigned() && extent.get<std::uint64_t>() <= INT64_MAX;
        });
    if (!extents)
      fail("tensor '{}': found shape {}, expected a list of integers of at least 0", excerpt(name),
           shown(shape));
    result.shape = shape.get<std::vector<std::int64_t>>();

    const json& offsets = member(name, entry, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      fail("tensor '{}': found data_offsets {}, expected two integers [begin, end]", excerpt(name),
           shown(offsets));
    const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
    if (begin > end || end > data.size())
      fail(
          "tensor '{}': found data_offsets [{}, {}], expected begin ≤ end ≤ {}, the size of the "
          "data",
          excerpt(name), begin, end, data.size());
    result.bytes = data.substr(begin, end - begin);
    check_size(result);
    return result;
  }

  /// `tensors` are sorted by their data.
  void check_layout(std::span<const SafeTensor> tensors, std::string_view data) const {
    std::size_t position = 0;
    for (const SafeTensor& tensor : tensors) {
      const auto begin = static_cast<std::size_t>(tensor.bytes.data() - data.data());
      if (begin != position)
        fail("tensor '{}': found data that starts at {}, expected {}: there is a{}",
             excerpt(tensor.name), begin, position, begin > position ? " hole" : "n overlap");
      position += tensor.bytes.size();
    }
    if (position != data.size())
      fail("found {} bytes of data, expected {}: the tensors end there", data.size(), position);
  }

 private:
  const json& member(const std::string& name, const json& entry, const char* key) const {
    const auto found = entry.find(key);
    if (found == entry.end()) fail("tensor '{}': found no {}, expected it", excerpt(name), key);
    return *found;
  }

  void check_size(const SafeTensor& tensor) const {
    const std::optional<std::size_t> type = type_index(tensor.dtype);
    if (!type) return;  // a newer type
    const std::optional<std::uint64_t> size = byte_size(tensor.shape, kSizes[*type]);
    if (!size)
      fail("tensor '{}': found {}, expected a shape whose size fits in 64 bits",
           excerpt(tensor.name), type_text(tensor));
    if (*size != tensor.bytes.size())
      fail("tensor '{}': found {} bytes, expected {} for {}", excerpt(tensor.name),
           tensor.bytes.size(), *size, type_text(tensor));
  }

  std::string file_;
};

/// IEEE half precision (Goldberg's layout: 1 sign, 5 exponent, 10 fraction bits).
float half_to_float(std::uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  if (exponent == 31) value = fraction == 0 ? HUGE_VALF : std::nanf("");
  return half & 0x8000 ? -value : value;
}

template <class Stored, class Convert>
std::vector<float> converted(std::string_view bytes, Convert convert) {
  std::vector<float> values(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = convert(stored);
  }
  return values;
}

}  // namespace

std::span<const std::string_view> safetensors_types() { return kTypes; }

std::string type_text(const SafeTensor& tensor) {
  return excerpt(fmt::format("{}[{}]", tensor.dtype, fmt::join(tensor.shape, ", ")));
}

Safetensors::Safetensors(const std::filesystem::path& file)
    : Safetensors(file, read_whole_file(file)) {}

Safetensors::Safetensors(const std::filesystem::path& file, std::string content)
    : file_(file), content_(std::move(content)) {
  const HeaderReader reader(file);
  const auto [header, data] = reader.split(content_);
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadata)
      metadata_ = reader.metadata(entry);
    else
      tensors_.push_back(reader.tensor(name, entry, data));
  }
  std::ranges::sort(tensors_, {}, [](const SafeTensor& tensor) {
    return std::pair(tensor.bytes.data(), tensor.bytes.data() + tensor.bytes.size());
  });
  reader.check_layout(tensors_, data);
}

const SafeTensor* Safetensors::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &SafeTensor::name);
  return found == tensors_.end() ? nullptr : &*found;
}

std::vector<float> Safetensors::floats(const SafeTensor& tensor) const {
  if (tensor.dtype == "F32") return converted<float>(tensor.bytes, [](float x) { return x; });
  if (tensor.dtype == "F64")
    return converted<double>(tensor.bytes, [](double x) { return static_cast<float>(x); });
  if (tensor.dtype == "F16") return converted<std::uint16_t>(tensor.bytes, half_to_float);
  if (tensor.dtype == "BF16")
    return converted<std::uint16_t>(tensor.bytes, [](std::uint16_t x) {
      return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16);
    });
  throw UserError(fmt::format("{}: tensor '{}': found dtype {}, expected F16, BF16, F32 or F64",
                              file_.string(), excerpt(tensor.name), excerpt(tensor.dtype)));
}

Draft draft_safetensors(const std::filesystem::path& file, std::span<const SafeTensor> tensors,
                        const SafetensorsMetadata& metadata) {
  std::vector<const SafeTensor*> sorted;
  std::set<std::string_view> names;
  for (const SafeTensor& tensor : tensors) {
    const std::optional<std::size_t> type = type_index(tensor.dtype);
    user_check(type.has_value(), "{}: tensor '{}': found dtype {}, expected one of {}",
               file.string(), tensor.name, tensor.dtype, fmt::join(kTypes, ", "));
    user_check(!tensor.name.empty() && tensor.name != kMetadata && names.insert(tensor.name).second,
               "{}: found a tensor named '{}', expected a name of its own", file.string(),
               tensor.name);
    const std::optional<std::uint64_t> size = byte_size(tensor.shape, kSizes[*type]);
    user_check(size == tensor.bytes.size(), "{}: tensor '{}': found {} bytes for {}[{}]",
               file.string(), tensor.name, tensor.bytes.size(), tensor.dtype,
               fmt::join(tensor.shape, ", "));
    sorted.push_back(&tensor);
  }
  std::ranges::sort(sorted, [](const SafeTensor* a, const SafeTensor* b) {
    return std::pair(*type_index(b->dtype), std::string_view(a->name)) <
           std::pair(*type_index(a->dtype), std::string_view(b->name));
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  std::vector<std::string_view> pieces(2);
  std::size_t position = 0;
  for (const SafeTensor* tensor : sorted) {
    const std::size_t end = position + tensor->bytes.size();
    header[tensor->name] = {
        {"dtype", tensor->dtype}, {"shape", tensor->shape}, {"data_offsets", {position, end}}};
    pieces.push_back(tensor->bytes);
    position = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception& error) {
    throw UserError(fmt::format("{}: found a name or metadata that is not UTF-8: {}", file.string(),
                                error.what()));
  }
  text.resize((text.size() + kPrefix - 1) / kPrefix * kPrefix, ' ');
  const auto length = static_cast<std::uint64_t>(text.size());
  pieces[0] = {reinterpret_cast<const char*>(&length), kPrefix};
  pieces[1] = text;
  return {file, pieces};
}

void save_safetensors(const std::filesystem::path& file, std::span<const SafeTensor> tensors,
                      const SafetensorsMetadata& metadata) {
  draft_safetensors(file, tensors, metadata).publish();
}

SafeTensor float_tensor(std::string name, std::vector<std::int64_t> shape,
                        std::span<const float> values) {
  return {.name = std::move(name),
          .dtype = "F32",
          .shape = std::move(shape),
          .bytes = {reinterpret_cast<const char*>(values.data()), values.size_bytes()}};
}

}  // namespace espalier
