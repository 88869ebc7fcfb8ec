/** The pictures of a model around one prompt, with one selection and one list of interventions. */
import { useEffect, useState } from "preact/hooks";
import { Header, StatusLine } from "../../core/components";
import { preactView } from "../../core/frame";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { useTrait } from "../../core/trait";
import { ChangesList } from "./changes_list";
import { Chosen } from "./chosen";
import { Panels } from "./panels";
import { QuestionForm } from "./question";
import css from "./style.css?inline";
import type { WorkbenchTraits } from "./traits";

export const workbench = preactView<WorkbenchTraits>(Workbench, css);

function Workbench({ port }: { port: Port<WorkbenchTraits> }) {
  const corrupted = useTrait(port, "corrupted").value;
  const [pair, setPair] = useState(corrupted !== "");
  useEffect(() => setPair(corrupted !== ""), [corrupted]);
  const ask = useRequest<object, WorkbenchTraits>(port, "set_inputs");
  const show = useRequest<object, WorkbenchTraits>(port, "show");
  return (
    <>
      <Header
        name="Workbench"
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
      />
      <QuestionForm port={port} request={ask} pair={pair} onPair={setPair} />
      <div class="mw-bench-bar">
        <Chosen port={port} />
        <ChangesList port={port} />
      </div>
      <Panels port={port} request={show} onPairNeeded={() => setPair(true)} />
      <StatusLine hint="" />
    </>
  );
}
