#include "runtime/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace espalier::runtime {
namespace {

constexpr std::size_t alignment = 16;
constexpr std::size_t least_block = std::size_t{1} << 20;

std::size_t aligned(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

CudaStaging::CudaStaging(const CudaDevice& device, Allocations& allocations)
    : device_(device), allocations_(allocations) {
  add_block(least_block);
}

std::size_t CudaStaging::Room::total() const { return aligned(records * sizeof(Record)) + bytes; }

CudaStaging::Room CudaStaging::room() const {
  if (blocks_.empty()) return {record_room_, least_block};  // an allocation failed before
  return {record_room_, bytes() - aligned(record_room_ * sizeof(Record))};
}

CudaStaging::Room CudaStaging::room_for(const Staged& expected) const {
  Room room = this->room();
  const std::size_t records = std::max(records_, expected.launches);
  if (records > room.records - room.records / 4) room.records = records + records / 2;
  // A sixteenth more, so that slowly growing minibatches do not grow it at every step.
  if (expected.bytes > room.bytes) room.bytes = aligned(expected.bytes + expected.bytes / 16);
  return room;
}

std::size_t CudaStaging::lacking(const Staged& expected) const {
  const Block& last = blocks_.back();
  const bool fit = records_ + expected.launches <= record_room_;
  const std::size_t bytes =
      expected.bytes + (fit ? 0 : aligned(expected.launches * sizeof(Record)));
  return last.used + bytes <= last.size ? 0 : bytes;
}

std::size_t CudaStaging::growth(const Staged& expected, bool at_begin) const {
  return at_begin ? room_for(expected).total() - bytes() : lacking(expected);
}

bool CudaStaging::keeps(const Staged& expected) const {
  return blocks_.size() == 1 && room_for(expected) == room();
}

void CudaStaging::begin(const Staged& expected) {
  if (!keeps(expected)) {
    const Room room = room_for(expected);
    for (const Block& block : blocks_) allocations_.erase(block.device.get());
    blocks_.clear();
    record_room_ = room.records;
    add_block(room.bytes);
  }
  blocks_.front().used = aligned(record_room_ * sizeof(Record));
  blocks_.front().sent = 0;
  records_ = 0;
}

void CudaStaging::reserve(const Staged& expected) {
  if (const std::size_t bytes = lacking(expected)) add_block(bytes);
}

void CudaStaging::add_block(std::size_t bytes) {
  if (blocks_.empty()) bytes += aligned(record_room_ * sizeof(Record));
  Block block{device_.allocate(bytes, "staged arrays"), device_.allocate_pinned(bytes), bytes, 0,
              0};
  if (blocks_.empty()) block.used = aligned(record_room_ * sizeof(Record));
  allocations_[block.device.get()] = bytes;
  blocks_.push_back(std::move(block));
}

std::size_t CudaStaging::bytes() const {
  std::size_t bytes = 0;
  for (const Block& block : blocks_) bytes += block.size;
  return bytes;
}

CudaStaging::Placed CudaStaging::put(const void* values, std::size_t bytes) {
  if (blocks_.back().used + bytes > blocks_.back().size)
    add_block(std::max(bytes, blocks_.back().size / 2));  // more than was expected
  Block& block = blocks_.back();
  char* const host = static_cast<char*>(block.pinned.get()) + block.used;
  const Placed placed{reinterpret_cast<const void*>(block.device.get() + block.used), host};
  std::memcpy(host, values, bytes);
  block.used = aligned(block.used + bytes);
  return placed;
}

CudaStaging::Records CudaStaging::take(std::size_t count) {
  const Records records{records_, count, records_ + count <= record_room_};
  records_ += count;
  return records;
}

CUdeviceptr CudaStaging::put(const Records& records, std::span<const Record> values) {
  if (!records.fit)
    return reinterpret_cast<CUdeviceptr>(put(values.data(), values.size_bytes()).device);
  const Block& front = blocks_.front();
  const std::size_t at = records.first * sizeof(Record);
  std::memcpy(static_cast<char*>(front.pinned.get()) + at, values.data(), values.size_bytes());
  return front.device.get() + at;
}

std::size_t CudaStaging::send(const Block& block, std::size_t begin, std::size_t end) const {
  if (begin == end) return 0;
  const CudaDriver& driver = device_.driver();
  driver.check(driver.functions().copy_up(block.device.get() + begin,
                                          static_cast<char*>(block.pinned.get()) + begin,
                                          end - begin, device_.stream()),
               "cuMemcpyHtoDAsync", "the plan");
  return 1;
}

std::size_t CudaStaging::send(const Records& records) {
  std::size_t copies = 0;
  const Block& front = blocks_.front();
  // The first records after begin() are sent in one copy with the arrays behind them.
  if (records.fit && front.sent > 0)
    copies += send(front, records.first * sizeof(Record),
                   (records.first + records.count) * sizeof(Record));
  for (Block& block : blocks_) {
    copies += send(block, block.sent, block.used);
    block.sent = block.used;
  }
  return copies;
}

}  // namespace espalier::runtime
