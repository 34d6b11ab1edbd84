#include <cmath>
#include <cstdio>
#include <fstream>

#include <nlohmann/json.hpp>

#include "mtt/runner/record.hpp"
#include "plain_model.hpp"
#include "testing.hpp"

using namespace mtt;
using nlohmann::json;

namespace {

const Check& reference_check() {
    for (const auto& check : catalogue()) {
        if (check.family == "PARITY" && check.name == "reference") {
            return check;
        }
    }
    throw std::runtime_error("the check is not there");
}

std::string recorded_by(Context context) {
    Mode mode;
    mode.record = true;
    context.set_mode(mode);
    const auto results = reference_check().run(context);
    CHECK(results.size() == 1 && results[0].name == "recorded" && results[0].status == Status::pass);
    return context.recorded().value();
}

/// Names of the results that fail when `context` is compared with `text`.
std::vector<std::string> failures(Context context, const std::string& text) {
    const std::string path = "test_record.json";
    std::ofstream(path) << text;
    Mode mode;
    mode.against = path;
    context.set_mode(mode);
    std::vector<std::string> out;
    try {
        for (const auto& result : reference_check().run(context)) {
            if (result.status == Status::fail) {
                out.push_back(result.name);
            }
        }
    } catch (...) {
        std::remove(path.c_str());
        throw;
    }
    std::remove(path.c_str());
    return out;
}

}  // namespace

TEST("a record holds every bit of what was computed") {
    Record record;
    record.origin = "here";
    record.dtype = "float64";
    record.length_unit = "angstrom";
    record.energy_unit = "eV";
    record.output = "energy";
    System system;
    system.name = "two \"atoms\"\xff";
    system.types = {1, 8};
    system.positions = {{0.1, 1.0 / 3.0, -5e-324}, {1e300, 0, -0.0}};
    system.cell = {{{2, 0, 0}, {0.1, 3, 0}, {0, 0, 0}}};
    system.pbc = {true, true, false};
    Properties reference;
    reference.energy = -2.0 / 3.0;
    reference.forces = {{0.1, 0.2, std::nan("")}, {0.3, 0.4, 0.7}};
    reference.virial = {{{1, 2, 3}, {4, 5, 6}, {7, 8, 9.1}}};
    record.systems = {system};
    record.references = {reference};
    const auto got = parse_record(record_text({record}, {{"torch", "2.13.0"}})).at(0);
    CHECK(got.origin == "here" && got.output == "energy" && got.systems.size() == 1);
    CHECK(got.systems[0].positions == system.positions);
    CHECK(got.systems[0].cell == system.cell && got.systems[0].pbc == system.pbc);
    CHECK(got.systems[0].types == system.types);
    CHECK(got.references[0].energy == reference.energy && got.references[0].energies.empty());
    CHECK(got.references[0].virial == reference.virial);
    CHECK(got.references[0].forces[1] == reference.forces[1] && std::isnan(got.references[0].forces[0][2]));
}

TEST("a model equals what was recorded of it, and another one does not") {
    const auto text = recorded_by(testing::plain_context(2));
    CHECK(failures(testing::plain_context(2), text).empty());
    testing::Breakage scaled;
    scaled.force_factor = 1.0 + 1e-7;
    CHECK(failures(testing::plain_context(2, scaled), text) ==
          (std::vector<std::string>{"recorded forces", "recorded virial"}));
    testing::Breakage step;
    step.step_at_cutoff = 1e-6;
    CHECK(failures(testing::plain_context(2, step), text) ==
          (std::vector<std::string>{"recorded energy", "recorded atomic energies"}));
}

TEST("a run without a reference says nothing about it") {
    auto context = testing::plain_context(1);
    CHECK(reference_check().run(context).empty());
    CHECK(!context.recorded().has_value());
}

TEST("a reference of another model is not compared") {
    auto text = json::parse(recorded_by(testing::plain_context(1)));
    text["energy_unit"] = "kJ/mol";
    CHECK(failures(testing::plain_context(1), text.dump()) == std::vector<std::string>{"reference"});
}

TEST("a reference that is none fails, and the model is not blamed") {
    CHECK(failures(testing::plain_context(1), "{}") == std::vector<std::string>{"reference"});
}

TEST("a reference that is none is refused") {
    CHECK_THROWS(parse_record("{"), std::runtime_error, "was not written by --record");
    CHECK_THROWS(parse_record("[]"), std::runtime_error, "was not written by --record");
    const auto good = json::parse(recorded_by(testing::plain_context(1)));
    const auto refused = [&good](const std::function<void(json&)>& change, const std::string& message) {
        auto changed = good;
        change(changed);
        CHECK_THROWS(parse_record(changed.dump()), std::runtime_error, message);
    };
    refused([](json& j) { j["version"] = 2; }, "it has version 2, and this program knows 1");
    refused([](json& j) { j["systems"] = json::array(); }, "it holds no systems");
    refused([](json& j) { j.erase("dtype"); }, "it has no 'dtype'");
    refused([](json& j) { j["systems"][0]["forces"].erase(0); }, "'forces' is not a list of");
    refused([](json& j) { j["systems"][0]["positions"][0] = {1, 2}; }, "a vector has not three components");
    refused([](json& j) { j["systems"][0]["positions"][0][1] = nullptr; }, "a position is no number");
    refused([](json& j) { j["systems"][0]["types"][0] = 1.5; }, "an atomic type is no integer");
    refused([](json& j) { j["systems"][0]["energy"] = "x"; }, "where a number should");
    refused([](json& j) { j["systems"][0] = 3; }, "it has no 'name'");
}
