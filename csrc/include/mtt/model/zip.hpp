// The directory of a zip archive as bytes, read more strictly than libraries read it: where two readers could disagree
// about what the archive holds, that is a finding.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mtt {

struct ZipEntry {
    std::string name;
    uint32_t crc = 0;
    uint64_t size = 0;
};

struct ZipDirectory {
    /// False if there is no directory, or it does not end where it should.
    bool complete = false;
    std::vector<ZipEntry> entries;
    std::vector<std::string> ambiguities;
};

ZipDirectory read_directory(const std::string& content);

}  // namespace mtt
