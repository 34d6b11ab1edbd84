// The options of the program, in one table: the parser, `--help` and the catalogue are made from it, and from the
// catalogue `mtt verify`, `mtt.verify()` and the documentation. A new option is one new row.
#pragma once

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "mtt/verify.hpp"

namespace mtt {

struct Arguments {
    VerifyOptions options;
    std::string json;
    std::string record;
    bool isolated = true;
    bool quiet = false;
    bool progress = false;
};

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// What a value is, so that other programs know how to read and check it.
enum class ValueType {
    none,      ///< a switch
    choice,    ///< one of `choices`
    checks,    ///< families or FAMILY/name, separated by commas
    waivers,   ///< the same, each with "=REASON" if there is one
    names,     ///< of something in the model, separated by commas
    uses,      ///< engines, or ENGINE:CONDITION, separated by commas
    folder,    ///< that exists
    input,     ///< a file to read
    output,    ///< a file to write
    count,     ///< a whole number above zero
    quantity,  ///< a number that is not negative
};
const char* name_of(ValueType type);

struct OptionRow {
    std::string flag;
    std::string metavar;
    ValueType type = ValueType::none;
    std::string help;
    std::function<void(Arguments&, const std::string&)> apply;
    std::vector<std::string> choices = {};
    /// What holds without the option, for a choice.
    std::string standard = "";
    /// Heading in the help of `mtt verify`.
    std::string group = "";
    /// Keyword of `mtt.verify()`; empty: an option of this program only.
    std::string keyword = "";
    /// Flag of an option that can not be there too.
    std::string excludes = "";
};

const std::vector<OptionRow>& option_table();

/// @throws UsageError, std::invalid_argument for values that no option takes
Arguments parse_arguments(const std::vector<std::string>& words);
/// What `--help` prints.
std::string usage_text();

/// "A,B" as a list without empty parts.
std::vector<std::string> split(const std::string& text);

/// Engines, families, levels, checks, tolerances and options as one JSON document.
std::string catalogue_json();

}  // namespace mtt
