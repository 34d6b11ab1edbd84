// From the code records of an archive to syntax trees, with the lexer and the parser that libtorch loads them with.
#include <torch/csrc/jit/frontend/lexer.h>
#include <torch/csrc/jit/frontend/parser.h>

#include <algorithm>

#include "script.hpp"

namespace mtt {

namespace {

using namespace torch::jit;

constexpr uint64_t largest_code = 64U << 20U;
/// libtorch's parser calls itself for each of these, and ends the process when the stack is used up.
constexpr int deepest = 200;
/// Operators in a row, which become a tree as deep.
constexpr int longest_run = 4000;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    return text;
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// Line at which the code nests too deep to be parsed; 0 if it does not.
int too_deep(const std::shared_ptr<Source>& source) {
    Lexer lexer(source);
    int depth = 0;
    int run = 0;
    int unary = 0;
    int branches = 0;
    for (; lexer.cur().kind != TK_EOF; lexer.next()) {
        const int kind = lexer.cur().kind;
        depth += kind == '(' || kind == '[' || kind == '{' || kind == TK_INDENT ? 1 : 0;
        depth -= kind == ')' || kind == ']' || kind == '}' || kind == TK_DEDENT ? 1 : 0;
        run = kind == ',' || kind == TK_NEWLINE ? 0 : run + 1;
        const bool nests = kind == '-' || kind == '~' || kind == TK_NOT || kind == TK_POW || kind == '*' ||
                           kind == TK_IF || kind == TK_ELSE;
        unary = kind == ',' || kind == TK_NEWLINE ? 0 : unary + (nests ? 1 : 0);
        branches += kind == TK_ELIF ? 1 : 0;
        if (depth > deepest || run > longest_run || unary > 10 * deepest || branches > deepest) {
            return int(source->lineno_for_offset(lexer.cur().range.start())) + 1;
        }
    }
    return 0;
}

int line_of(const TreeRef& tree) {
    const auto& range = tree->range();
    return range.source() == nullptr ? 0 : int(range.source()->lineno_for_offset(range.start())) + 1;
}

std::string base_class(const ClassDef& definition) {
    const auto base = definition.superclass();
    return base.present() && base.get().kind() == TK_VAR ? Var(base.get()).name().name() : "";
}

std::string text_of(const Maybe<Expr>& type) {
    std::string out = type.present() ? type.get().range().text().str() : "";
    out.erase(std::remove_if(out.begin(), out.end(), [](unsigned char c) { return std::isspace(c); }), out.end());
    return out;
}

/// Types of all arguments but the first, and of the result.
std::string signature(const Decl& declaration) {
    std::string out;
    bool first = true;
    for (const auto& parameter : declaration.params()) {
        out += first ? "" : text_of(parameter.type()) + ";";
        first = false;
    }
    return out + text_of(declaration.return_type());
}

void add_class(const ScriptFile& file, const ClassDef& definition, Script& script, std::vector<Foreign>& out) {
    const std::string qualified = file.module + "." + definition.name().name();
    ScriptClass described;
    const std::string base = base_class(definition);
    described.is_enum = base == "Enum";
    described.is_tuple = base == "NamedTuple";
    described.is_interface = base == "Interface" || base == "ModuleInterface";
    const bool known = described.is_enum || described.is_tuple || described.is_interface || base == "Module";
    if (definition.superclass().present() && !known) {
        out.push_back({"class " + qualified, file.record, line_of(definition.tree()), "its base is none of libtorch's"});
    }
    for (const auto& statement : definition.body()) {
        if (statement.kind() == TK_DEF) {
            described.methods.insert(Def(statement).name().name());
            described.signatures.emplace(Def(statement).name().name(), signature(Def(statement).decl()));
            continue;
        }
        if (statement.kind() != TK_ASSIGN) {
            continue;
        }
        const Assign assign(statement);
        const bool quoted = assign.lhs().kind() == TK_SUBSCRIPT;
        std::string name;
        if (assign.lhs().kind() == TK_VAR) {
            name = Var(assign.lhs()).name().name();
        } else if (quoted) {
            const auto key = Subscript(assign.lhs()).subscript_exprs();
            name = key.size() == 1 && key[0].kind() == TK_STRINGLITERAL ? StringLiteral(key[0]).text() : "";
        }
        const auto type = quoted ? assign.rhs() : assign.type();
        const bool constant = !quoted && assign.rhs().present() && !described.is_tuple;
        if (!name.empty() && type.present() && !constant) {
            described.attributes.emplace(name, type.get().tree());
            described.fields.push_back(type.get().tree());
        } else if (!name.empty()) {
            described.methods.insert(name);  // a constant, which is in the code alone, or a member of an enumeration
        }
    }
    for (const auto& [name, type] : described.attributes) {
        script.members.insert(name);
    }
    script.members.insert(described.methods.begin(), described.methods.end());
    if (!script.classes.emplace(qualified, described).second) {
        out.push_back({"class " + qualified, file.record, line_of(definition.tree()), "it is defined twice"});
    }
}

void parse_file(ScriptFile& file, const std::string& text, Script& script, std::vector<Foreign>& out) {
    const auto source = std::make_shared<Source>(text, file.record, 1);
    if (const int line = too_deep(source)) {
        out.push_back({"archive", file.record, line, "the code nests deeper, or runs on longer, than exports do"});
        return;
    }
    Parser parser(source);
    auto& lexer = parser.lexer();
    while (lexer.cur().kind != TK_EOF) {
        if (lexer.cur().kind == TK_CLASS_DEF) {
            file.definitions.push_back(parser.parseClass());
            add_class(file, ClassDef(file.definitions.back()), script, out);
        } else if (lexer.cur().kind == TK_DEF) {
            file.definitions.push_back(parser.parseFunction(/*is_method=*/false));
            script.functions.insert(file.module + "." + Def(file.definitions.back()).name().name());
        } else {
            const int line = int(source->lineno_for_offset(lexer.cur().range.start())) + 1;
            out.push_back({"archive", file.record, line, "there is something else than classes and functions"});
            return;
        }
    }
}

}  // namespace

std::string joined(const std::vector<std::string>& parts, size_t count) {
    std::string out;
    for (size_t k = 0; k < count; ++k) {
        out += (k > 0 ? "." : "") + parts[k];
    }
    return out;
}

std::vector<std::string> dotted(const TreeRef& tree) {
    std::vector<std::string> out;
    TreeRef at = tree;
    while (at->kind() == '.') {
        out.push_back(Select(at).selector().name());
        at = Select(at).value().tree();
    }
    if (at->kind() != TK_VAR) {
        return {};
    }
    out.push_back(Var(at).name().name());
    std::reverse(out.begin(), out.end());
    return out;
}

Script read_script(const Archive& archive, std::vector<Foreign>& out) {
    Script script;
    for (const auto& record : archive.records()) {
        // libtorch finds records without regard to case.
        const std::string name = lower(record);
        if (name.compare(0, 5, "code/") != 0 || !ends_with(name, ".py")) {
            continue;
        }
        // Another record could be the one that libtorch takes for the same module.
        if (record.compare(0, 5, "code/") != 0 || !ends_with(record, ".py") ||
            record.find('.') != record.size() - 3) {
            out.push_back({"archive", record, 0, "code records are not called so"});
            continue;
        }
        ScriptFile file{record, record.substr(5, record.size() - 8), {}};
        std::replace(file.module.begin(), file.module.end(), '/', '.');
        if (archive.size_of(record) > largest_code) {
            out.push_back({"archive", record, 0, "it is larger than code is"});
            continue;
        }
        try {
            const std::string text = archive.read(record);
            parse_file(file, text, script, out);
        } catch (const std::exception& error) {
            std::string why = error.what();
            why = why.substr(0, why.find('\n', 1)).substr(0, 200);
            out.push_back({"archive", record, 0, "libtorch's parser does not understand it: " + why});
        }
        script.files.push_back(std::move(file));
    }
    return script;
}

}  // namespace mtt
