// SHA-256 against the vectors of NIST (FIPS 180-4 examples, CAVP).
#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string>

namespace espalier::codegen {
namespace {

std::string hex(std::string_view text) { return to_hex(sha256({text})); }

TEST(Sha256, GivesTheVectorsOfTheStandard) {
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex("\xbd"), "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b");
  EXPECT_EQ(hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(hex(std::string(55, '\0')),
            "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7");
  EXPECT_EQ(hex(std::string(56, '\0')),
            "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb");
  EXPECT_EQ(hex(std::string(64, '\0')),
            "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
}

TEST(Sha256, DoesNotDependOnThePieces) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += char(i);
  for (std::size_t size = 0; size <= text.size(); ++size)
    for (const std::size_t cut : {std::size_t{0}, size / 3, size / 2, size}) {
      const std::string_view whole(text.data(), size);
      EXPECT_EQ(sha256({whole}), sha256({whole.substr(0, cut), "", whole.substr(cut)}))
          << size << " " << cut;
    }
}

}  // namespace
}  // namespace espalier::codegen
