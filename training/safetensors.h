// The safetensors format: `u64le N | N bytes of JSON | data`, little-endian, C order. Written by
// checkpoints, also read from other tools: a file is checked in full before anything is taken from
// it. Every complaint is a UserError `FILE: found X, expected Y`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

class Draft;

/// Free texts about a file. PyTorch's tools want {"format": "pt"}.
using SafetensorsMetadata = std::map<std::string, std::string>;

/// The types that the format has, as it spells them ("F32"), in its own order.
std::span<const std::string_view> safetensors_types();

struct SafeTensor {
  std::string name;
  std::string dtype;                ///< "F32"; in a file that was read, perhaps an unknown one
  std::vector<std::int64_t> shape;  ///< [] is a scalar; extents may be 0
  std::string_view bytes;
};

/// `F32[2, 3]`, for messages.
std::string type_text(const SafeTensor& tensor);

/// A file in memory. Tensors view it; neither copied nor moved.
class Safetensors {
 public:
  /// Reads and checks a file. Data of types unknown here is kept as bytes.
  explicit Safetensors(const std::filesystem::path& file);
  /// The same for the content of a file that was read already.
  Safetensors(const std::filesystem::path& file, std::string content);
  Safetensors(const Safetensors&) = delete;
  Safetensors& operator=(const Safetensors&) = delete;

  const std::filesystem::path& file() const { return file_; }
  /// In the order of their data.
  std::span<const SafeTensor> tensors() const { return tensors_; }
  /// Null if there is none of that name.
  const SafeTensor* find(std::string_view name) const;
  const SafetensorsMetadata& metadata() const { return metadata_; }

  /// The values of a tensor of this file of type F16, BF16, F32 or F64, rounded to float.
  /// UserError for other types.
  std::vector<float> floats(const SafeTensor& tensor) const;

 private:
  std::filesystem::path file_;
  std::string content_;
  std::vector<SafeTensor> tensors_;
  SafetensorsMetadata metadata_;
};

/// Writes the tensors as the usual writer does, largest types first, then by name; the file appears
/// whole or not at all. UserError for a name that is empty, "__metadata__" or there twice, for text
/// that is not UTF-8, for an unknown type, or if the file cannot be written.
void save_safetensors(const std::filesystem::path& file, std::span<const SafeTensor> tensors,
                      const SafetensorsMetadata& metadata = {{"format", "pt"}});

/// The same as a draft of the file.
Draft draft_safetensors(const std::filesystem::path& file, std::span<const SafeTensor> tensors,
                        const SafetensorsMetadata& metadata);

/// `values` as a tensor to save, which views them.
SafeTensor float_tensor(std::string name, std::vector<std::int64_t> shape,
                        std::span<const float> values);

}  // namespace espalier
