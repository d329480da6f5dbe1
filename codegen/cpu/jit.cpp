#include "codegen/cpu/jit.h"

#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Host.h>

#include <new>

#include "base/error.h"
#include "codegen/cpu/emit.h"
#include "codegen/cpu/memory.h"

namespace espalier::codegen {

namespace {

template <class T>
T unwrap(llvm::Expected<T> result, std::string_view what) {
  if (result) return static_cast<T&&>(*result);
  throw InternalError(std::string(what) + ": " + llvm::toString(result.takeError()));
}

void unwrap(llvm::Error error, std::string_view what) {
  if (error) throw InternalError(std::string(what) + ": " + llvm::toString(std::move(error)));
}

void initialize_llvm() {
  static const bool once = [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    return true;
  }();
  (void)once;
}

std::unique_ptr<llvm::TargetMachine> make_machine(const Target& target) {
  initialize_llvm();
  const std::string triple = llvm::sys::getProcessTriple();
  std::string message;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, message);
  internal_check(found != nullptr, "LLVM has no target for this machine: {}", message);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;  // mul and add stay two roundings
  std::unique_ptr<llvm::TargetMachine> machine(
      found->createTargetMachine(triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
                                 llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default, true));
  internal_check(machine != nullptr, "LLVM cannot make code for '{}'", target.cpu);
  return machine;
}

}  // namespace

struct Jit::Impl {
  Target target;
  std::unique_ptr<llvm::TargetMachine> machine;
  int loaded = 0;
  std::string reported;        // by the JIT, of what it could not load
  bool out_of_memory = false;  // was among that
  std::unique_ptr<llvm::orc::LLJIT> jit;

  explicit Impl(const Target& t) : target(t), machine(make_machine(t)) {}

  void make(const Kernel& kernel, llvm::raw_pwrite_stream& out, llvm::CodeGenFileType type) {
    llvm::LLVMContext context;
    llvm::Module module(kernel.name, context);
    module.setDataLayout(machine->createDataLayout());
    module.setTargetTriple(machine->getTargetTriple().str());
    emit_kernel(kernel, target, module);
#ifdef ESPALIER_VERIFY
    std::string message;
    llvm::raw_string_ostream errors(message);
    internal_check(!llvm::verifyModule(module, &errors), "kernel '{}': {}", kernel.name, message);
#endif
    llvm::legacy::PassManager passes;
    internal_check(!machine->addPassesToEmitFile(passes, out, nullptr, type),
                   "LLVM cannot write this kind of file");
    passes.run(module);
  }
};

Jit::Jit(const Target& target) {
  const InLlvm scope;
  impl_.reset(new Impl(target));
  llvm::orc::JITTargetMachineBuilder builder(impl_->machine->getTargetTriple());
  builder.setCPU(target.cpu);
  // What it cannot load it tells its session, and the caller only that it could not.
  const auto keep = [impl = impl_.get()](llvm::Error error) {
    llvm::handleAllErrors(std::move(error), [&](const llvm::ErrorInfoBase& info) {
      impl->out_of_memory |= info.convertToErrorCode() == std::errc::not_enough_memory;
      impl->reported += " (" + info.message() + ")";
    });
  };
  impl_->jit = unwrap(llvm::orc::LLJITBuilder()
                          .setJITTargetMachineBuilder(std::move(builder))
                          .setDataLayout(impl_->machine->createDataLayout())
                          .setLinkProcessSymbolsByDefault(false)
                          .setPlatformSetUp(llvm::orc::setUpInactivePlatform)
                          .create(),
                      "LLVM's JIT");
  impl_->jit->getExecutionSession().setErrorReporter(keep);
}

Jit::~Jit() {
  const InLlvm scope;
  impl_.reset();
}

std::string Jit::compile(const Kernel& kernel) {
  const InLlvm scope;
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  impl_->make(kernel, out, llvm::CodeGenFileType::ObjectFile);
  return {bytes.data(), bytes.size()};
}

std::string Jit::dump(const Kernel& kernel, bool assembly) {
  const InLlvm scope;
  if (!assembly) {
    llvm::LLVMContext context;
    llvm::Module module(kernel.name, context);
    module.setDataLayout(impl_->machine->createDataLayout());
    emit_kernel(kernel, impl_->target, module);
    std::string text;
    llvm::raw_string_ostream(text) << module;
    return text;
  }
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  impl_->make(kernel, out, llvm::CodeGenFileType::AssemblyFile);
  return {bytes.data(), bytes.size()};
}

std::vector<StageFunction> Jit::load(std::string_view object, std::size_t stages) {
  const InLlvm scope;
  llvm::orc::LLJIT& jit = *impl_->jit;
  // A namespace of its own for each kernel: their functions have the same names.
  llvm::orc::JITDylib& library = unwrap(
      jit.createJITDylib("kernel" + std::to_string(impl_->loaded++)), "a namespace for a kernel");
  auto buffer = llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(object.data(), object.size()));
  if (!buffer) throw std::bad_alloc();
  unwrap(jit.addObjectFile(library, std::move(buffer)), "a kernel's object");
  std::vector<StageFunction> functions;
  impl_->reported.clear();
  impl_->out_of_memory = false;
  for (std::size_t i = 0; i < stages; ++i) {
    auto found = jit.lookup(library, stage_symbol(i));
    if (!found && impl_->out_of_memory) {
      llvm::consumeError(found.takeError());
      throw std::bad_alloc();
    }
    functions.push_back(
        unwrap(std::move(found), "a kernel's stage" + impl_->reported).toPtr<StageFunction>());
  }
  return functions;
}

std::string Jit::version() {
  const InLlvm scope;
  return "LLVM " LLVM_VERSION_STRING " " + llvm::sys::getProcessTriple();
}

}  // namespace espalier::codegen
