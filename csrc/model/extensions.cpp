#include <algorithm>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "mtt/model/archive.hpp"

namespace mtt {

std::string extensions_problem(const std::string& json) {
    const auto declared = nlohmann::json::parse(json, nullptr, false);
    if (!declared.is_array()) {
        return "the list of TorchScript extensions can not be read";
    }
    for (const auto& item : declared) {
        if (!item.is_object() || !item.contains("name") || !item["name"].is_string() ||
            (item.contains("path") && !item["path"].is_string())) {
            return "the list of TorchScript extensions can not be read";
        }
        const auto name = item["name"].get<std::string>();
        const auto path = item.value("path", "");
        const auto printable = [](const std::string& text) {
            return std::all_of(text.begin(), text.end(), [](char letter) { return uint8_t(letter) > ' ' && letter != 127; });
        };
        const std::string framed = "/" + path + "/";
        if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos || !printable(name) ||
            !printable(path) || (!path.empty() && path[0] == '/') || framed.find("/../") != std::string::npos) {
            return "the TorchScript extension '" + name + "' (" + path + ") lies outside of the folder of extensions";
        }
    }
    return "";
}

}  // namespace mtt
