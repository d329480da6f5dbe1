// Arrays on their way to a GPU: written to pinned memory as they come, then sent together to the
// same offsets on the device. Owned by the launcher. Staged arrays keep their addresses until the
// next begin(). Records of launches lie at the front of the first block, so that similar
// minibatches use the same record addresses and graphs can be replayed.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "codegen/cuda/walker.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/pending_launch.h"
#include "runtime/step/executor.h"

namespace espalier::runtime {

class CudaStaging {
 public:
  using Record = codegen::WalkRecord;
  /// Addresses of the same bytes on both sides.
  struct Placed {
    const void* device;
    const void* host;
  };
  /// Places for records of launches that are sent together.
  struct Records {
    std::size_t first = 0, count = 0;  ///< counted since begin()
    bool fit = false;                  ///< whether there is room for them at the front
  };

  /// Blocks on the device are entered in `allocations`. Both must outlive this.
  CudaStaging(const CudaDevice& device, Allocations& allocations);

  // Making room. begin() and reserve() grow bytes() by growth(expected, at_begin).

  /// Discards all arrays, which nothing may still read, and makes room for `expected`.
  void begin(const Staged& expected);
  /// Whether begin(expected) leaves all records at their addresses.
  bool keeps(const Staged& expected) const;
  /// Makes room for `expected` in addition to what is staged.
  void reserve(const Staged& expected);
  std::size_t growth(const Staged& expected, bool at_begin) const;
  std::size_t bytes() const;  ///< on the device

  // Staging and sending.

  Placed put(const void* values, std::size_t bytes);
  /// Takes the next places for records.
  Records take(std::size_t count);
  /// Fills these places. Returns the address of the first record on the device.
  CUdeviceptr put(const Records& records, std::span<const Record> values);
  /// Sends all that was staged since the last call, these records included. Returns the number of
  /// copies: one, if the records fit and no block was added.
  std::size_t send(const Records& records);

 private:
  /// The same bytes on the host and on the device.
  struct Block {
    CudaOwner<CUdeviceptr> device;
    CudaOwner<void*> pinned;
    std::size_t size = 0, used = 0, sent = 0;
  };
  struct Room {
    std::size_t records = 0;  ///< number of records
    std::size_t bytes = 0;    ///< for everything else
    std::size_t total() const;
    bool operator==(const Room&) const = default;
  };

  Room room() const;
  Room room_for(const Staged& expected) const;
  /// Size of the block that reserve(expected) adds; 0 if there is room already.
  std::size_t lacking(const Staged& expected) const;
  /// The first block gets room for records in addition to `bytes`.
  void add_block(std::size_t bytes);
  /// Copies a part of the block. Returns the number of copies, 0 or 1.
  std::size_t send(const Block& block, std::size_t begin, std::size_t end) const;

  const CudaDevice& device_;
  Allocations& allocations_;
  std::vector<Block> blocks_;
  std::size_t record_room_ = 256;  // records that fit at the front of the first block
  std::size_t records_ = 0;        // taken since begin()
};

}  // namespace espalier::runtime
