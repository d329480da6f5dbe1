// Arrays on their way to a GPU: written to pinned memory as they come, and sent to the same offsets
// on the device together. Made for the CUDA launcher. What was placed stays where it is until the
// next begin; records of launches lie at the front, so that those of like minibatches have the same
// addresses and graphs can be replayed.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "codegen/cuda/walker.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/walk.h"
#include "runtime/step/executor.h"

namespace espalier::runtime {

class CudaStaging {
 public:
  using Record = codegen::WalkRecord;
  /// The same bytes on both sides.
  struct Placed {
    const void* device;
    const void* host;
  };
  /// Those of launches that are sent off together.
  struct Records {
    std::size_t first = 0, count = 0;  ///< since begin
    bool fit = false;                  ///< at the front
  };

  /// Blocks on the device are entered in `allocations`. Both outlive this.
  CudaStaging(const CudaDevice& device, Allocations& allocations);

  /// Forgets what was placed, which nothing under way may read, and makes room for `expected`.
  void begin(const Staged& expected);
  /// Whether begin(expected) leaves records where they are.
  bool keeps(const Staged& expected) const;
  /// Makes room for so much more; both grow `bytes` by growth(expected, at_begin).
  void reserve(const Staged& expected);
  std::size_t growth(const Staged& expected, bool at_begin) const;

  Placed put(const void* values, std::size_t bytes);
  /// The places of the next records, which put then fills: where they begin on the device.
  Records take(std::size_t count);
  CUdeviceptr put(const Records& records, std::span<const Record> values);
  /// Sends off what was placed since the last time, the records among it. Returns the number of
  /// copies: one if they fit, and nothing has grown.
  std::size_t send(const Records& records);

  std::size_t bytes() const;  ///< on the device

 private:
  /// The same bytes on the host and the device. Those of the first block begin with records.
  struct Block {
    CudaOwner<CUdeviceptr> device;
    CudaOwner<void*> pinned;
    std::size_t size = 0, used = 0, sent = 0;
  };
  /// What blocks hold, all together.
  struct Room {
    std::size_t records = 0, bytes = 0;  ///< bytes: besides the records
    std::size_t total() const;
    bool operator==(const Room&) const = default;
  };

  Room room() const;
  Room room_for(const Staged& expected) const;
  /// Bytes of a block that reserve(expected) adds; 0 if there is room.
  std::size_t lacking(const Staged& expected) const;
  /// The first one has room for records besides.
  void add_block(std::size_t bytes);
  /// Returns the number of copies, 0 or 1.
  std::size_t send(const Block& block, std::size_t begin, std::size_t end) const;

  const CudaDevice& device_;
  Allocations& allocations_;
  std::vector<Block> blocks_;
  std::size_t record_room_ = 256, records_ = 0;  // of the first block; used since begin
};

}  // namespace espalier::runtime
