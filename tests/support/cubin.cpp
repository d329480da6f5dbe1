#include "tests/support/cubin.h"

#include <elf.h>

#include <cstring>
#include <map>

#include "base/disk_cache.h"
#include "base/error.h"
#include "codegen/compiler.h"
#include "codegen/cuda/nvrtc.h"

namespace espalier::test {

namespace {

template <class T>
T at(const std::string& bytes, std::size_t offset) {
  internal_check(offset + sizeof(T) <= bytes.size(), "the cubin ends at byte {}", bytes.size());
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// A record of section .nv.info has a byte for its form, a byte for its attribute and two bytes for
/// the length of what follows. Records about kernels hold the kernel's symbol and a number.
constexpr unsigned char with_length = 0x04;
constexpr unsigned char frame_size = 0x11, register_count = 0x2f;

}  // namespace

std::vector<KernelUse> kernels_in(const std::string& cubin) {
  const auto header = at<Elf64_Ehdr>(cubin, 0);
  internal_check(std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0, "not an ELF file");
  std::vector<Elf64_Shdr> sections;
  for (int i = 0; i < header.e_shnum; ++i)
    sections.push_back(at<Elf64_Shdr>(cubin, header.e_shoff + std::size_t(i) * sizeof(Elf64_Shdr)));
  const auto text = [&](const Elf64_Shdr& strings, std::size_t offset) {
    return std::string(cubin.c_str() + strings.sh_offset + offset);
  };
  std::map<unsigned, KernelUse> kernels;  // by symbol
  const Elf64_Shdr* symbols = nullptr;
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type == SHT_SYMTAB) symbols = &section;
    if (text(sections.at(header.e_shstrndx), section.sh_name) != ".nv.info") continue;
    for (std::size_t p = section.sh_offset; p < section.sh_offset + section.sh_size;) {
      const auto form = at<unsigned char>(cubin, p), attribute = at<unsigned char>(cubin, p + 1);
      const std::size_t length = form == with_length ? at<std::uint16_t>(cubin, p + 2) : 0;
      if (form == with_length && length == 8) {
        KernelUse& kernel = kernels[at<std::uint32_t>(cubin, p + 4)];
        const int value = int(at<std::uint32_t>(cubin, p + 8));
        if (attribute == frame_size) kernel.local_bytes = value;
        if (attribute == register_count) kernel.registers = value;
      }
      p += 4 + length;
    }
  }
  internal_check(symbols != nullptr, "the cubin has no symbols");
  std::vector<KernelUse> result;
  for (auto& [symbol, kernel] : kernels) {
    const auto entry =
        at<Elf64_Sym>(cubin, symbols->sh_offset + std::size_t(symbol) * sizeof(Elf64_Sym));
    kernel.name = text(sections.at(symbols->sh_link), entry.st_name);
    if (kernel.registers > 0) result.push_back(kernel);
  }
  return result;
}

std::string cached_cubin(const std::string& source, const std::string& architecture) {
  const std::string key = codegen::nvrtc_state().version + " " + architecture + "\n" + source;
  DiskCache cache(default_cache_directory());
  if (auto found = cache.load(key)) return *found;
  std::string cubin = codegen::compile_cubin(source, architecture);
  cache.store(key, cubin);
  return cubin;
}

}  // namespace espalier::test
