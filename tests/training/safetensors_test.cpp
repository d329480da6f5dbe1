// Round trips, the published golden file, and one malformed file for every check of the reader.
#include "training/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "tests/data/support.h"
#include "tests/support/real_data.h"

namespace espalier {
namespace {

using namespace std::string_literals;
using data::refusal;
using data::TemporaryFolder;

std::string file_bytes(const std::string& header, const std::string& data = "") {
  std::string length(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(length.data(), &size, 8);
  return length + header + data;
}

/// `{"t": {…}}` with the given parts.
std::string one_tensor(const std::string& dtype, const std::string& shape,
                       const std::string& offsets) {
  return R"({"t":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

/// The message with which a file of these bytes is refused, without the file's name before it.
std::string complaint(const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string file = folder.write("x.safetensors", bytes);
  const std::string message = refusal([&] { Safetensors read(file); });
  if (!message.starts_with(file + ": ")) return message;
  return message.substr(file.size() + 2);
}

TEST(Safetensors, ReadsThePublishedFile) {
  const auto data = test::real_data();
  if (!data) GTEST_SKIP() << "real data absent";
  const Safetensors read(*data / "golden" / "tiny.safetensors");
  ASSERT_EQ(read.tensors().size(), 4u);
  EXPECT_EQ(read.metadata(), (SafetensorsMetadata{{"format", "pt"}}));
  const SafeTensor* step = read.find("step");
  ASSERT_TRUE(step);
  EXPECT_EQ(step->dtype, "I64");
  EXPECT_TRUE(step->shape.empty());
  EXPECT_EQ(step->bytes, "\x2a\0\0\0\0\0\0\0"s);
  const SafeTensor* weight = read.find("cell.W");
  ASSERT_TRUE(weight);
  EXPECT_EQ(weight->shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(read.floats(*weight), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(read.floats(*read.find("cell.b")), (std::vector<float>{-1, 0.5}));
  EXPECT_EQ(read.find("empty")->shape, (std::vector<std::int64_t>{0, 3}));
  EXPECT_TRUE(read.floats(*read.find("empty")).empty());
  EXPECT_FALSE(read.find("cell"));
}

TEST(Safetensors, WritesThePublishedFileToTheByte) {
  const auto data = test::real_data();
  if (!data) GTEST_SKIP() << "real data absent";
  const Safetensors read(*data / "golden" / "tiny.safetensors");
  const TemporaryFolder folder;
  const std::vector<SafeTensor> reversed(read.tensors().rbegin(), read.tensors().rend());
  save_safetensors(folder / "copy", reversed);
  EXPECT_EQ(read_whole_file(folder / "copy"), read_whole_file(read.file()));
}

TEST(Safetensors, RoundTrips) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, -0.0f, std::numeric_limits<float>::infinity(),
                                     std::numeric_limits<float>::denorm_min()};
  const std::vector<float> nan = {std::nanf("")};
  const SafetensorsMetadata metadata = {{"format", "pt"}, {"epoch", "3"}, {"ü", "\"\\\n"}};
  const std::string flags = "\1\0\1"s;
  const SafeTensor tensors[] = {float_tensor("w/ü", {2, 1, 2}, values),
                                float_tensor("n", {}, nan),
                                float_tensor("none", {3, 0}, {}),
                                {.name = "flag", .dtype = "BOOL", .shape = {3}, .bytes = flags}};
  save_safetensors(folder / "m", tensors, metadata);

  const std::string bytes = read_whole_file(folder / "m");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ(header % 8, 0u);
  const Safetensors read(folder / "m");
  EXPECT_EQ(read.metadata(), metadata);
  std::vector<std::string> names;
  for (const SafeTensor& tensor : read.tensors()) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"n", "none", "w/ü", "flag"}));
  EXPECT_EQ(read.find("w/ü")->shape, (std::vector<std::int64_t>{2, 1, 2}));
  const std::vector<float> back = read.floats(*read.find("w/ü"));
  EXPECT_EQ(std::memcmp(back.data(), values.data(), sizeof(float) * 4), 0);
  EXPECT_TRUE(std::isnan(read.floats(*read.find("n")).at(0)));
  EXPECT_EQ(read.find("flag")->bytes, flags);
}

TEST(Safetensors, ReadsFloatsOfEveryWidth) {
  const TemporaryFolder folder;
  const double wide[] = {0.1, -2};
  const std::uint16_t half[] = {0x3C00, 0xC000, 0x0001, 0x7BFF, 0x7C00, 0x8000};
  const std::uint16_t brain[] = {0x3F80, 0xC049};
  const auto bytes = [](const auto& values) {
    return std::string_view(reinterpret_cast<const char*>(values), sizeof(values));
  };
  const SafeTensor tensors[] = {
      {.name = "wide", .dtype = "F64", .shape = {2}, .bytes = bytes(wide)},
      {.name = "half", .dtype = "F16", .shape = {6}, .bytes = bytes(half)},
      {.name = "brain", .dtype = "BF16", .shape = {2}, .bytes = bytes(brain)}};
  save_safetensors(folder / "m", tensors);
  const Safetensors read(folder / "m");
  EXPECT_EQ(read.floats(*read.find("wide")), (std::vector<float>{0.1f, -2}));
  EXPECT_EQ(read.floats(*read.find("half")),
            (std::vector<float>{1, -2, std::ldexp(1.0f, -24), 65504, HUGE_VALF, -0.0f}));
  EXPECT_EQ(read.floats(*read.find("brain")), (std::vector<float>{1, -3.140625f}));
}

TEST(Safetensors, AnEmptyFileOfTensorsIsFine) {
  const TemporaryFolder folder;
  save_safetensors(folder / "m", {}, {});
  EXPECT_TRUE(Safetensors(folder / "m").tensors().empty());
  EXPECT_EQ(read_whole_file(folder / "m"), file_bytes("{}      "));
}

TEST(Safetensors, UnknownTypesAreKeptButNotConverted) {
  const TemporaryFolder folder;
  const std::string file =
      folder.write("m", file_bytes(one_tensor("\"F8_E4M3\"", "[5]", "[0,5]"), "12345"));
  const Safetensors read(file);
  EXPECT_EQ(read.tensors()[0].bytes, "12345");
  EXPECT_EQ(refusal([&] { read.floats(read.tensors()[0]); }),
            file + ": tensor 't': found dtype F8_E4M3, expected F16, BF16, F32 or F64");
}

TEST(Safetensors, RefusesMalformedFiles) {
  const auto tensor = [](const std::string& dtype, const std::string& shape,
                         const std::string& offsets, std::size_t data) {
    return complaint(file_bytes(one_tensor(dtype, shape, offsets), std::string(data, 'x')));
  };
  const auto starts = [](const std::string& text, const std::string& begin) {
    EXPECT_EQ(text.substr(0, begin.size()), begin);
  };
  starts(complaint(""), "found 0 bytes, expected a safetensors file");
  starts(complaint("1234567"), "found 7 bytes, expected a safetensors file");
  starts(complaint("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "found a header of 18446744073709551615");
  starts(complaint("\1\xe1\xf5\5\0\0\0\0{}"s), "found a header of 100000001 bytes");
  starts(complaint("\0\xe1\xf5\5\0\0\0\0{}"s),
         "found 2 bytes behind the header's length, expected "
         "the header's 100000000");
  starts(complaint("\3\0\0\0\0\0\0\0{}"s), "found 2 bytes behind the header's length");
  starts(complaint(file_bytes("")), "found a header that starts with nothing");
  starts(complaint(file_bytes(" {}")), "found a header that starts with byte 0x20, expected '{'");
  starts(complaint(file_bytes("[]")), "found a header that starts with byte 0x5b");
  starts(complaint(file_bytes("{\"t\":")), "found a header that is not JSON");
  starts(complaint(file_bytes("{} x")), "found a header that is not JSON");
  starts(complaint(file_bytes("{\"\xff\":{}}")), "found a header that is not JSON");
  starts(complaint(file_bytes("{\"t\":" + std::string(1'000'000, '['))),
         "found JSON nested over 16 deep");
  starts(complaint(file_bytes(R"({"a":{},"a":{}})")), "found the name 'a' twice");
  starts(complaint(file_bytes(R"({"a":{"dtype":"F32","dtype":"I8"}})")),
         "found the name 'dtype' twice");

  starts(complaint(file_bytes(R"({"__metadata__":[]})")), "__metadata__: found [], expected");
  starts(complaint(file_bytes(R"({"__metadata__":{"epoch":3}})")),
         "__metadata__: found 3 for 'epoch', expected a string");

  starts(complaint(file_bytes(R"({"t":7})")), "tensor 't': found 7, expected an object");
  starts(complaint(file_bytes(R"({"t":{}})")), "tensor 't': found no dtype");
  starts(complaint(file_bytes(R"({"t":{"dtype":"F32"}})")), "tensor 't': found no shape");
  starts(complaint(file_bytes(R"({"t":{"dtype":"F32","shape":[]}})")),
         "tensor 't': found no data_offsets");
  starts(tensor("32", "[]", "[0,4]", 4), "tensor 't': found dtype 32");
  for (const char* shape : {"3", "[-1]", "[1.0]", "[\"1\"]", "[9223372036854775808]", "[[1]]"})
    starts(tensor("\"F32\"", shape, "[0,4]", 4), "tensor 't': found shape "s + shape);
  for (const char* offsets : {"4", "[0]", "[0,4,8]", "[-1,3]", "[0,4.0]", "[0,null]"})
    starts(tensor("\"F32\"", "[1]", offsets, 4), "tensor 't': found data_offsets "s + offsets);
  starts(tensor("\"F32\"", "[1]", "[4,0]", 4), "tensor 't': found data_offsets [4, 0], expected");
  starts(tensor("\"F32\"", "[1]", "[0,4]", 3),
         "tensor 't': found data_offsets [0, 4], expected "
         "begin ≤ end ≤ 3");
  starts(tensor("\"F32\"", "[2]", "[0,4]", 4), "tensor 't': found 4 bytes, expected 8 for F32[2]");
  starts(tensor("\"BOOL\"", "[]", "[0,4]", 4), "tensor 't': found 4 bytes, expected 1 for BOOL[]");
  starts(tensor("\"U8\"", "[4294967296, 4294967296]", "[0,0]", 0),
         "tensor 't': found U8[4294967296, 4294967296], expected a shape whose size fits");

  starts(tensor("\"F32\"", "[1]", "[0,4]", 8), "found 8 bytes of data, expected 4");
  starts(tensor("\"F32\"", "[1]", "[4,8]", 8),
         "tensor 't': found data that starts at 4, expected 0: there is a hole");
  starts(complaint(file_bytes(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                              R"("b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}})",
                              "12345")),
         "tensor 'b': found data that starts at 2, expected 3: there is an overlap");
}

TEST(Safetensors, RefusesFilesThatCannotBeRead) {
  const TemporaryFolder folder;
  EXPECT_EQ(refusal([&] { Safetensors read(folder / "none"); }),
            folder / "none" + ": cannot read the file: No such file or directory");
  EXPECT_EQ(refusal([&] { Safetensors read(folder / ""); }),
            folder / "" + ": cannot read the file: Is a directory");
}

TEST(Safetensors, RefusesToWriteWhatCouldNotBeRead) {
  const TemporaryFolder folder;
  const std::vector<float> one = {1};
  const auto has = [&](std::vector<SafeTensor> tensors, const std::string& part,
                       const SafetensorsMetadata& metadata = {}) {
    const std::string text = refusal([&] { save_safetensors(folder / "m", tensors, metadata); });
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_FALSE(std::filesystem::exists(folder / "m"));
  };
  has({float_tensor("a", {}, one), float_tensor("a", {}, one)}, "a tensor named 'a'");
  has({float_tensor("", {}, one)}, "a tensor named ''");
  has({float_tensor("__metadata__", {}, one)}, "a tensor named '__metadata__'");
  has({float_tensor("a", {2}, one)}, "found 4 bytes for F32[2]");
  has({{.name = "a", .dtype = "F4", .shape = {}, .bytes = ""}}, "expected one of BOOL, U8");
  has({float_tensor("\xff", {}, one)}, "not UTF-8");
  has({float_tensor("a", {}, one)}, "not UTF-8", {{"k", "\xff"}});
}

}  // namespace
}  // namespace espalier
