// Where the libraries of this program lie, and what a computation reads of the system.
#pragma once

#include <string>
#include <vector>

namespace mtt {

/// Files of this program and of the libraries in memory, and the folders in which they look for more: those of the system, those that this
/// program's libraries came from, those of LD_LIBRARY_PATH. A folder counts only if its name says that it holds
/// libraries, so that one library in somebody's home does not open the home.
std::vector<std::string> library_paths();

/// Whether `folder` holds libraries by its name: "lib", "lib64", "NAME.libs", or one below those of the system.
bool holds_libraries(const std::string& folder);

/// Files and folders that say what machine and what process this is: processors, memory, time zone, language.
std::vector<std::string> machine_paths();

}  // namespace mtt
