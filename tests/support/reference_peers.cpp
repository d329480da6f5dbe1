#include "tests/support/reference_peers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/hash.h"

namespace espalier::test {
namespace {

std::string read_bytes(const std::filesystem::path& file) {
  std::ifstream input(file, std::ios::binary);
  if (!input) throw std::runtime_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(input), {}};
}

template <typename T>
std::vector<double> decode(const std::string& bytes, std::size_t begin, std::size_t end) {
  std::vector<T> values((end - begin) / sizeof(T));
  std::memcpy(values.data(), bytes.data() + begin, values.size() * sizeof(T));
  return {values.begin(), values.end()};
}

}  // namespace

std::map<std::string, PeerTensor> read_peer_tensors(const std::filesystem::path& file) {
  const std::string bytes = read_bytes(file);
  std::uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size) throw std::runtime_error("no header: " + file.string());
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  if (header_size > bytes.size() - sizeof header_size) {
    throw std::runtime_error("short header: " + file.string());
  }
  const std::size_t data = sizeof header_size + static_cast<std::size_t>(header_size);

  std::map<std::string, PeerTensor> tensors;
  const auto header = nlohmann::json::parse(bytes.substr(sizeof header_size, header_size));
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const std::size_t begin = data + entry.at("data_offsets").at(0).get<std::size_t>();
    const std::size_t end = data + entry.at("data_offsets").at(1).get<std::size_t>();
    if (begin > end || end > bytes.size()) throw std::runtime_error("bad offsets of " + name);
    const bool wide = entry.at("dtype") == "F64";
    if (!wide && entry.at("dtype") != "F32") throw std::runtime_error("bad dtype of " + name);
    tensors[name] = {
        .shape = entry.at("shape").get<std::vector<int>>(),
        .values = wide ? decode<double>(bytes, begin, end) : decode<float>(bytes, begin, end)};
  }
  return tensors;
}

ReferenceParams peer_params(const std::map<std::string, PeerTensor>& tensors) {
  ReferenceParams params;
  for (const auto& [name, tensor] : tensors) params[name] = tensor.values;
  return params;
}

nlohmann::json read_peer_json(const std::filesystem::path& file) {
  return nlohmann::json::parse(read_bytes(file));
}

PeerDigest peer_digest(std::span<const double> values) {
  PeerDigest digest;
  for (std::size_t i = 0; i < values.size(); ++i) {
    digest.sum += values[i];
    digest.sum_of_squares += values[i] * values[i];
    digest.weighted_sum += values[i] * (static_cast<double>(37 * i % 101) - 50.0) / 50.0;
    if (i < 8) digest.first.push_back(values[i]);
  }
  for (std::size_t k = 0; k < 8; ++k) digest.spread.push_back(values[k * values.size() / 8]);
  return digest;
}

PeerDigest read_peer_digest(const nlohmann::json& written) {
  return {.sum = written.at("sum"),
          .sum_of_squares = written.at("sum_of_squares"),
          .weighted_sum = written.at("weighted_sum"),
          .first = written.at("first").get<std::vector<double>>(),
          .spread = written.at("spread").get<std::vector<double>>()};
}

double peer_difference(const PeerDigest& actual, const PeerDigest& expected, std::size_t n) {
  const auto count = static_cast<double>(n);
  const double norm = std::max(std::sqrt(expected.sum_of_squares), 1e-300);
  double worst = 0;
  const auto note = [&worst](double difference, double scale) {
    const double relative = std::abs(difference) / scale;
    worst = std::max(worst, std::isfinite(relative) ? relative : HUGE_VAL);
  };
  note(std::sqrt(actual.sum_of_squares) - std::sqrt(expected.sum_of_squares), norm);
  for (auto sum : {&PeerDigest::sum, &PeerDigest::weighted_sum}) {
    note(actual.*sum - expected.*sum, norm * std::sqrt(count));
  }
  for (auto list : {&PeerDigest::first, &PeerDigest::spread}) {
    if ((actual.*list).size() != (expected.*list).size()) return HUGE_VAL;
    for (std::size_t k = 0; k < (expected.*list).size(); ++k) {
      note((actual.*list)[k] - (expected.*list)[k], norm / std::sqrt(count));
    }
  }
  return worst;
}

std::string peer_vocabulary_hash(const std::vector<std::string>& vocabulary) {
  std::uint64_t hash = fnv1a_begin;
  for (const std::string& word : vocabulary) hash = fnv1a(word + "\n", hash);
  return fmt::format("{:016x}", hash);
}

}  // namespace espalier::test
