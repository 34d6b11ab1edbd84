#include "mtt/isolation/orders.hpp"

#include <nlohmann/json.hpp>

#include "mtt/runner/selection.hpp"

namespace mtt {

namespace {

using nlohmann::json;

json optional_text(const std::optional<std::string>& text) { return text.has_value() ? json(*text) : json(nullptr); }

json optional_number(const std::optional<double>& number) { return number.has_value() ? json(*number) : json(nullptr); }

std::optional<std::string> text_or_none(const json& value) {
    return value.is_null() ? std::nullopt : std::optional<std::string>(value.get<std::string>());
}

}  // namespace

// Paths may hold bytes that are no UTF-8, which JSON can not: binary form.
std::string to_text(const Orders& orders) {
    const auto& options = orders.options;
    json waivers = json::array();
    for (const auto& waiver : options.waivers) {
        waivers.push_back({waiver.check, waiver.reason});
    }
    const auto bytes = json::to_cbor(json{
        {"path", options.path}, {"extensions", optional_text(options.extensions)},
        {"level", name_of(options.level)}, {"engine", options.engine}, {"only", options.only}, {"waivers", waivers},
        {"against", optional_text(options.against)}, {"record", options.record}, {"threads", options.threads},
        {"memory", options.memory_limit}, {"first", orders.first}, {"scratch", orders.scratch},
        {"cpu", orders.cpu_seconds}, {"without", orders.without}, {"token", orders.token},
        {"allowed", options.allowed_operators}, {"rotation", optional_number(options.max_rotation_error)},
    });
    return {bytes.begin(), bytes.end()};
}

Orders orders_from_text(const std::string& text) {
    const auto value = json::from_cbor(text);
    Orders out;
    auto& options = out.options;
    options.path = value.at("path").get<std::string>();
    options.extensions = text_or_none(value.at("extensions"));
    options.level = parse_level(value.at("level").get<std::string>());
    options.allowed_operators = value.at("allowed").get<std::vector<std::string>>();
    options.engine = value.at("engine").get<std::string>();
    options.only = value.at("only").get<std::vector<std::string>>();
    for (const auto& waiver : value.at("waivers")) {
        options.waivers.push_back({waiver.at(0).get<std::string>(), waiver.at(1).get<std::string>()});
    }
    options.against = text_or_none(value.at("against"));
    const auto& rotation = value.at("rotation");
    options.max_rotation_error = rotation.is_null() ? std::nullopt : std::optional<double>(rotation.get<double>());
    options.record = value.at("record").get<bool>();
    options.threads = value.at("threads").get<int>();
    options.memory_limit = value.at("memory").get<uint64_t>();
    out.first = value.at("first").get<size_t>();
    out.scratch = value.at("scratch").get<std::string>();
    out.cpu_seconds = value.at("cpu").get<uint64_t>();
    out.without = value.at("without").get<std::vector<std::string>>();
    out.token = value.at("token").get<std::string>();
    return out;
}

}  // namespace mtt
