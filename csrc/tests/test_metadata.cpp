// Metadata as mtt writes it into a model file, read back as an engine reads it.

#include <metatomic/torch.hpp>

#include <nlohmann/json.hpp>

#include "testing.hpp"

namespace {

// The same text as in tests/export/test_add_metadata.py, which finds it in a file.
const char* const text = R"({
    "authors": [
        "A. Person",
        "B. Person <b@example.org>"
    ],
    "class": "ModelMetadata",
    "description": "gas phase\n",
    "extra": {
        "licence": "CC-BY"
    },
    "name": "Ethanol, gefärbt",
    "references": {
        "architecture": [
            "doi:10/mine",
            "doi:10/toy"
        ],
        "model": [
            "doi:10/model"
        ]
    }
})";

}  // namespace

TEST("metadata is read back whole, and printed by engines") {
    const auto metadata = metatomic_torch::ModelMetadataHolder::from_json(text);
    CHECK(metadata->name == "Ethanol, gefärbt");
    CHECK(metadata->description == "gas phase\n");
    CHECK(metadata->authors == (std::vector<std::string>{"A. Person", "B. Person <b@example.org>"}));
    CHECK(metadata->references.at("model").size() == 1);
    CHECK(metadata->references.at("architecture").at(1) == "doi:10/toy");
    CHECK(!metadata->references.contains("implementation"));
    CHECK(metadata->extra.at("licence") == "CC-BY");
    const auto printed = metadata->print();
    for (const char* part : {"Ethanol, gefärbt", "gas phase", "- B. Person <b@example.org>", "* doi:10/model"}) {
        CHECK(printed.find(part) != std::string::npos);
    }
    CHECK(nlohmann::json::parse(metadata->to_json()) == nlohmann::json::parse(text));
}
