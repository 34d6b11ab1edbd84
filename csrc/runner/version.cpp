// A shared library needs a source file of its own; all else comes from object files.
#include "mtt/export.hpp"

MTT_EXPORT extern const char* const mtt_verify_version;
const char* const mtt_verify_version = MTT_VERSION;
