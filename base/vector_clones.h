// Marks a function with loops over floats: it is compiled for several vector widths, and the loader
// picks the widest that the machine supports. Results are the same bits for all.
#pragma once

// Sanitizers cannot run the resolver that picks one.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ESPALIER_VECTOR_CLONES [[gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]
#else
#define ESPALIER_VECTOR_CLONES
#endif
