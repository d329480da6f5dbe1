#include "data/minibatches.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace espalier::data {

Minibatches::Minibatches(int examples, int batch_size, std::uint64_t seed)
    : batch_size_(batch_size), seed_(seed) {
  user_check(examples >= 0 && batch_size >= 1,
             "minibatches: found {} examples in batches of {}, expected batches of at least 1",
             examples, batch_size);
  order_.resize(examples);
  std::iota(order_.begin(), order_.end(), 0);
}

void Minibatches::start_epoch(int epoch) {
  Random random = Random::stream(seed_, epoch);
  std::iota(order_.begin(), order_.end(), 0);
  shuffle(std::span(order_), random);
}

int Minibatches::size() const {
  const int examples = static_cast<int>(order_.size());
  return examples / batch_size_ + (examples % batch_size_ != 0);
}

std::span<const int> Minibatches::operator[](int batch) const {
  const std::size_t begin = static_cast<std::size_t>(batch) * batch_size_;
  const std::size_t count = std::min<std::size_t>(batch_size_, order_.size() - begin);
  return std::span(order_).subspan(begin, count);
}

}  // namespace espalier::data
