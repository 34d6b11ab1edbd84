#include "mtt/checks/empty_rank.hpp"

#include "mtt/engines/profiles.hpp"

namespace mtt {

std::string add_uncertainty(Call& call, const Capabilities& capabilities) {
    const auto* output = uncertainty_of_atoms(capabilities);
    if (output == nullptr) {
        return "";
    }
    call.extra.push_back({output->name, output->unit, "atom", ""});
    return output->name;
}

std::string uncertainty_problem(const Answer& answer, const std::string& output) {
    const auto& block = answer.extra.at(output);
    if (!block.samples.empty()) {
        return "'" + output + "' has " + std::to_string(block.samples.size()) +
               " rows of atoms instead of none: engines warn of atoms that other ranks have";
    }
    if (block.sample_names != std::vector<std::string>{"system", "atom"} || block.shape != std::vector<int64_t>{0, 1}) {
        return "'" + output + "' is no list of one number for each atom, with rows named 'system' and 'atom'";
    }
    return "";
}

}  // namespace mtt
