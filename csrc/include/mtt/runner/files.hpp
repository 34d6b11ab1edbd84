// Files that a person names: read only if they are files, written so that nothing is lost.
#pragma once

#include <string>

namespace mtt {

/// @throws std::runtime_error if `path` is missing or no regular file: a pipe would wait, a device never end
void check_input(const std::string& path);

/// The whole of a regular file.
/// @throws std::runtime_error as `check_input`, or if it is longer than `most` bytes
std::string read_input(const std::string& path, size_t most);

/// Replaces a file, or the one that a link leads to, when all of the text is on disk; writes into a pipe or device.
/// @throws std::runtime_error if that does not work; what was there is then as it was
void write_output(const std::string& path, const std::string& text);

}  // namespace mtt
