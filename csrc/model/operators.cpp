#include "mtt/model/operators.hpp"

#include <algorithm>

#include "script.hpp"

namespace mtt {

std::string describe(const Foreign& foreign) {
    std::string place = foreign.record;
    if (foreign.line > 0) {
        place += ", line " + std::to_string(foreign.line);
    }
    return foreign.name + (place.empty() ? "" : " (" + place + ")") + ": " + foreign.why;
}

std::vector<Foreign> foreign_operators(
    const Archive& archive, const std::vector<std::string>& allowed, bool extensions
) {
    auto out = foreign_layout(archive);
    if (!out.empty()) {
        return out;  // which records are meant is not certain
    }
    out = foreign_extensions(archive);
    // A folder of extensions says nothing about a file that declares none.
    bool declared = false;
    for (const char* record : {"extra/extensions", "extra/extensions-deps"}) {
        declared = declared || (archive.has(record) && archive.read(record).find("\"name\"") != std::string::npos);
    }
    const Permits permits{{allowed.begin(), allowed.end()}, extensions && declared};
    const auto script = read_script(archive, out);
    find_names(script, permits, out);
    find_objects(archive, script, permits, out);
    return out;
}

}  // namespace mtt
