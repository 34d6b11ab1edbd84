// What programs that link the shared library may use; everything else stays inside it.
#pragma once

#ifdef __GNUC__
#define MTT_EXPORT __attribute__((visibility("default")))
#else
#define MTT_EXPORT
#endif
