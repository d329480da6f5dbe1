// What happens when memory runs out within LLVM. It is compiled without exceptions: a
// std::bad_alloc on its way through would leave locks held and objects half made, and end in an
// abort later. So the process ends at once, with one line on stderr and status 1.
#pragma once

namespace espalier::codegen {

/// While one lives, this thread is in LLVM. Around all calls of LLVM that allocate.
class InLlvm {
 public:
  InLlvm();
  ~InLlvm();
  InLlvm(const InLlvm&) = delete;
  InLlvm& operator=(const InLlvm&) = delete;
};

}  // namespace espalier::codegen
