#include "mtt/model/outputs.hpp"

#include "mtt/isolation/answers.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

std::vector<OutputInfo> outputs(const std::vector<std::string>& names) {
    std::vector<OutputInfo> out;
    for (const auto& name : names) {
        out.push_back({name, "", "atom", ""});
    }
    return out;
}

/// Two rows of a block with three components and two properties.
Answer two_rows() {
    Answer out;
    out.key_names = {"_"};
    out.sample_names = {"system", "atom"};
    out.samples = {{0, 0}, {0, 1}};
    out.shape = {2, 3, 2};
    out.values.assign(12, 1.0);
    out.layout = {{{0}, {"xyz"}, {{0, 1, 2}}, 2}};
    return out;
}

}  // namespace

TEST("the energy that engines pick comes before its variants") {
    CHECK(first_energy(outputs({"energy/b", "energy", "energy/a"})) == "energy");
    CHECK(first_energy(outputs({"energy/b", "mtt::x", "energy/a"})) == "energy/a");
    CHECK(first_energy(outputs({"energy_uncertainty", "mtt::energy"})).empty());
    CHECK(energy_variants(outputs({"energy/b", "energy", "energy/a"})) == (std::vector<std::string>{"a", "b"}));
}

TEST("an output under its old name is the same output") {
    const auto distinct = distinct_outputs(outputs({"positions", "position", "features/x", "feature/x", "charges"}));
    std::vector<std::string> names;
    for (const auto& output : distinct) {
        names.push_back(output.name);
    }
    CHECK(names == (std::vector<std::string>{"charges", "feature/x", "position"}));
    CHECK(quantity_of("non_conservative_forces/pbe") == "non_conservative_force");
    CHECK(standard_quantity("positions")->place);
    CHECK(standard_quantity("mtt::charges") == nullptr);
}

TEST("blocks that do not make up the rows are refused") {
    Call call;
    call.gradients = false;
    check_answer(two_rows(), call);
    auto wide = two_rows();
    wide.layout[0].properties = 3;
    CHECK_THROWS(check_answer(wide, call), PackingError, "does not fit");
    auto nameless = two_rows();
    nameless.layout[0].components.clear();
    CHECK_THROWS(check_answer(nameless, call), PackingError, "does not fit");
    auto endless = two_rows();
    endless.layout[0].properties = ~uint64_t(0);
    CHECK_THROWS(check_answer(endless, call), PackingError, "does not fit");
}

TEST("rows of an output beside the energy that have not their labels are refused") {
    Call call;
    call.gradients = false;
    auto answer = two_rows();
    auto& beside = answer.extra["energy_uncertainty"];
    beside = {{0.1, 0.2}, {2, 1}, {"system", "atom"}, {{0, 0}, {0, 1}}};
    check_answer(answer, call);
    beside.samples.pop_back();
    CHECK_THROWS(check_answer(answer, call), PackingError, "does not fit");
    beside.samples.push_back({0});
    CHECK_THROWS(check_answer(answer, call), PackingError, "does not fit");
}
