// The team's barriers: what a thread wrote before one, every thread reads behind it.
#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/refusal.h"

namespace espalier::test {
namespace {

TEST(ThreadTeam, WritesAreSeenBehindABarrier) {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadTeam team(threads);
    ASSERT_EQ(team.size(), threads);
    std::vector<long> written(std::size_t(threads), 0), seen(std::size_t(threads), 0);
    long rounds = 0;
    for (int region = 0; region < 200; ++region) {
      team.run([&](int thread) {
        for (int round = 0; round < 5; ++round) {
          written[std::size_t(thread)] += thread + 1;
          team.barrier();
          long sum = 0;
          for (const long value : written) sum += value;
          seen[std::size_t(thread)] = sum;
          team.barrier();  // nobody writes on before all have read
        }
      });
      rounds += 5;
      for (const long sum : seen) EXPECT_EQ(sum, rounds * threads * (threads + 1) / 2);
    }
  }
}

TEST(ThreadTeam, ThrowsWhatTheFirstThreadThrew) {
  for (const int threads : {1, 2, 5}) {
    ThreadTeam team(threads);
    for (int first = 0; first < threads; ++first) {
      std::vector<int> ran(std::size_t(threads), 0);
      const std::string thrown = refusal<std::runtime_error>([&] {
        team.run([&](int thread) {
          ran[std::size_t(thread)] = 1;
          if (thread >= first) throw std::runtime_error(std::to_string(thread));
        });
      });
      EXPECT_EQ(thrown, std::to_string(first));
      EXPECT_EQ(ran, std::vector<int>(std::size_t(threads), 1));
      team.run([&](int thread) { ran[std::size_t(thread)] = 2; });
      EXPECT_EQ(ran, std::vector<int>(std::size_t(threads), 2));
    }
  }
}

TEST(ThreadTeam, FlushesDenormalsOnEveryThreadAndNowhereElse) {
  volatile float small = 1e-30F;
  for (const int threads : {1, 2, 3}) {
    ThreadTeam team(threads);
    std::vector<float> products(std::size_t(threads), 1.F);
    team.run([&](int thread) { products[std::size_t(thread)] = small * 1e-10F; });
    EXPECT_EQ(products, std::vector<float>(std::size_t(threads), 0.F));
    EXPECT_GT(small * 1e-10F, 0.F);
  }
}

}  // namespace
}  // namespace espalier::test
