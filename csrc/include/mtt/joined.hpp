// Words in one text.
#pragma once

#include <string>
#include <vector>

namespace mtt {

inline std::string joined(const std::vector<std::string>& words, const char* between = ", ") {
    std::string out;
    for (size_t k = 0; k < words.size(); ++k) {
        out += (k == 0 ? "" : between) + words[k];
    }
    return out;
}

}  // namespace mtt
