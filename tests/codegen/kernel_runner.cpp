#include "tests/codegen/kernel_runner.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>

#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/interpreter.h"
#include "codegen/kernel/print.h"
#include "codegen/kernel/verify.h"

namespace espalier::codegen {

GuardedBuffer::GuardedBuffer(std::size_t bytes, bool aligned) : bytes_(bytes), aligned_(aligned) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t occupied = aligned ? (bytes + 63) / 64 * 64 : bytes;
  const std::size_t inside = (occupied + page - 1) / page * page;
  mapped_ = inside + 2 * page;
  memory_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* first = static_cast<char*>(memory_) + page;
  if (memory_ == MAP_FAILED || (inside && mprotect(first, inside, PROT_READ | PROT_WRITE) != 0))
    throw std::bad_alloc();
  data_ = first + (inside - occupied);
}

GuardedBuffer::GuardedBuffer(const GuardedBuffer& other)
    : GuardedBuffer(other.bytes_, other.aligned_) {
  if (bytes_) std::memcpy(data_, other.data_, bytes_);
}

GuardedBuffer::~GuardedBuffer() { munmap(memory_, mapped_); }

void Memory::add(const void* data, std::size_t bytes, bool aligned) {
  buffers_.emplace_back(bytes, aligned);
  if (bytes) std::memcpy(buffers_.back().data(), data, bytes);
}

void Memory::add_floats(std::int64_t count, std::mt19937& random, bool aligned) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  add_floats(values, aligned);
}
void Memory::add_floats(std::span<const float> values, bool aligned) {
  add(values.data(), values.size_bytes(), aligned);
}
void Memory::add_integers(std::span<const std::int32_t> values) {
  add(values.data(), values.size_bytes(), false);
}
void Memory::add_keys(std::span<const std::uint64_t> values) {
  add(values.data(), values.size_bytes(), false);
}

std::vector<void*> Memory::pointers() const {
  std::vector<void*> pointers;
  for (const GuardedBuffer& buffer : buffers_) pointers.push_back(buffer.data());
  return pointers;
}

std::span<float> Memory::floats(BufferId id) const {
  return {static_cast<float*>(buffers_[id].data()), buffers_[id].size() / sizeof(float)};
}

Compiler& compiler(const Target& target) {
  static std::map<std::string, std::unique_ptr<Compiler>> compilers;
  auto& found = compilers[target.name];
  if (!found) found = std::make_unique<Compiler>(target);
  return *found;
}

namespace {

std::int64_t rows_of(const Stage& stage, std::int64_t rows, std::int64_t child_rows) {
  if (stage.rows == RowDomain::once) return 0;
  return stage.rows == RowDomain::instances ? rows : child_rows;
}

void interpret_all(const Kernel& kernel, const Memory& memory, const Case& test, bool fma) {
  const std::vector<void*> pointers = memory.pointers();
  for (std::size_t i = 0; i < kernel.stages.size(); ++i)
    interpret(kernel, static_cast<int>(i), pointers.data(), 0,
              rows_of(kernel.stages[i], test.rows, test.child_rows), {.fma = fma});
}

/// Cut points 0 = c0 < c1 < … = n at random.
std::vector<std::int64_t> cuts(std::int64_t n, std::mt19937& random) {
  std::vector<std::int64_t> points{0, n};
  for (int i = 0; i < 3; ++i)
    points.push_back(std::uniform_int_distribution<std::int64_t>(0, n)(random));
  std::sort(points.begin(), points.end());
  return points;
}

void run_in_pieces(const CompiledKernel& kernel, const Memory& memory, const Case& test) {
  std::mt19937 random(7);
  const std::vector<void*> pointers = memory.pointers();
  for (std::size_t i = 0; i < kernel.stages.size(); ++i) {
    const CompiledStage& stage = kernel.stages[i];
    const auto rows = cuts(rows_of(kernel.kernel.stages[i], test.rows, test.child_rows), random);
    const auto parts = cuts(stage.parts, random);
    std::vector<std::pair<std::size_t, std::size_t>> pieces;
    for (std::size_t r = 1; r < rows.size(); ++r)
      for (std::size_t p = 1; p < parts.size(); ++p)
        if (stage.rows != RowDomain::once || r == 1) pieces.emplace_back(r, p);
    std::shuffle(pieces.begin(), pieces.end(), random);
    for (const auto& [r, p] : pieces)
      stage.run(pointers.data(), rows[r - 1], rows[r], parts[p - 1], parts[p]);
  }
}

bool agrees(float got, float wanted, const Expectation& expect) {
  if (std::isnan(got) && std::isnan(wanted)) return true;
  if (expect.ulps == 0 && expect.absolute == 0)
    return std::bit_cast<std::uint32_t>(got) == std::bit_cast<std::uint32_t>(wanted);
  return ulp_distance(got, wanted) <= expect.ulps || std::fabs(got - wanted) <= expect.absolute;
}

}  // namespace

void compare(const Kernel& kernel, const Memory& got, const Memory& wanted,
             const Expectation& expect, const std::string& what) {
  for (std::size_t i = 0; i < kernel.buffers.size(); ++i) {
    const auto id = static_cast<BufferId>(i);
    if (element(kernel.buffers[i].role) != Element::f32) continue;
    const auto a = got.floats(id), b = wanted.floats(id);
    for (std::size_t at = 0; at < a.size(); ++at)
      ASSERT_TRUE(agrees(a[at], b[at], expect))
          << what << ": buffer " << i << " at " << at << ": " << fmt::format("{:a}", a[at])
          << ", expected " << fmt::format("{:a}", b[at]) << "\n"
          << print_kernel(kernel);
  }
}

void run(const CompiledKernel& kernel, const Memory& memory, std::int64_t rows,
         std::int64_t child_rows) {
  const std::vector<void*> pointers = memory.pointers();
  for (std::size_t i = 0; i < kernel.stages.size(); ++i)
    kernel.stages[i].run(pointers.data(), 0, rows_of(kernel.kernel.stages[i], rows, child_rows), 0,
                         kernel.stages[i].parts);
}

void check(const Case& test) {
  for (const Target& target : host_targets()) {
    const Kernel kernel = test.kernel(target);
    verify_kernel(kernel);
    const CompiledKernel& compiled = compiler(target).compile(kernel);
    const Memory initial = test.memory(kernel);
    ASSERT_EQ(initial.buffers().size(), kernel.buffers.size());

    const Memory whole = initial, pieces = initial, wanted = initial;
    run(compiled, whole, test.rows, test.child_rows);
    run_in_pieces(compiled, pieces, test);
    interpret_all(kernel, wanted, test, target.fma);
    compare(kernel, whole, wanted, test.expect, target.name + " against the interpreter");
    compare(kernel, pieces, whole, {}, target.name + " in pieces");
    if (testing::Test::HasFatalFailure()) return;
  }
}

Stage instance_stage(KernelBuilder& builder, std::vector<std::int64_t> extents) {
  Stage stage = once_stage(builder, std::move(extents));
  stage.rows = RowDomain::instances;
  stage.row = builder.variable();
  return stage;
}

Stage once_stage(KernelBuilder& builder, std::vector<std::int64_t> extents) {
  Stage stage;
  stage.rows = RowDomain::once;
  stage.extents = std::move(extents);
  for (std::size_t i = 0; i < stage.extents.size(); ++i)
    stage.variables.push_back(builder.variable());
  return stage;
}

ExprId element(KernelBuilder& builder, const Stage& stage) {
  ExprId address = stage.row >= 0 ? builder.var(stage.row) : builder.integer(0);
  for (std::size_t i = 0; i < stage.extents.size(); ++i) {
    address = builder.multiply(address, stage.extents[i]);  // first, so that ids are the same
    address = builder.add(address, builder.var(stage.variables[i]));
  }
  return address;
}

double ulp_distance(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b) ? 0 : HUGE_VAL;
  const auto ordered = [](float x) {
    const auto bits = std::bit_cast<std::int32_t>(x);
    return static_cast<double>(bits < 0 ? std::int64_t{INT32_MIN} - bits : std::int64_t{bits});
  };
  return std::fabs(ordered(a) - ordered(b));
}

}  // namespace espalier::codegen
