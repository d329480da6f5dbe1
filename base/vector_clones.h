// For loops over floats in ordinary C++: compiled for several vector widths, of which the widest
// that the machine has is taken when the program is loaded. The bits are the same in all.
#pragma once

// Sanitizers cannot run the code that chooses.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ESPALIER_VECTOR_CLONES [[gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]
#else
#define ESPALIER_VECTOR_CLONES
#endif
